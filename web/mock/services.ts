// Plumb's services over the generated world.
import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError, type ConnectRouter, type HandlerContext } from "@connectrpc/connect";
import { keyOf, refOf } from "../src/api/refs";
import type { ObjectRef, Query } from "../src/gen/plumb/v1/common_pb";
import { DeliveryService, ListDeliveriesResponseSchema, WatchDeliveriesResponseSchema, type WatchDeliveriesRequest, type WatchGraphRequest } from "../src/gen/plumb/v1/deliveries_pb";
import { FleetService, type Hit, type WatchActivityRequest, type WatchSourcesRequest } from "../src/gen/plumb/v1/fleet_pb";
import { SessionService } from "../src/gen/plumb/v1/session_pb";
import { act } from "./actions";
import { detailOf, diffOf, graphFor, objectOf } from "./details";
import { activityFields, clustersOf, projectsOf, settings } from "./fleet";
import { logLines } from "./logs";
import { nodesOf } from "./objects";
import { historyOf } from "./past";
import { deliveryFields, facetsOf, matches, page } from "./query";
import { sourceFields, sourceOf } from "./sources";
import { explain } from "./story";
import type { World } from "./world";

export interface MockOptions {
  signedIn?: boolean; // no sign-in page: everybody is admin
}

const passwords: Record<string, string> = { admin: "plumb", viewer: "plumb" };
const allPages = ["deliveries", "sources", "clusters", "projects", "activity", "settings"];

export function routes(world: World, { signedIn = false }: MockOptions = {}) {
  const who = (context: HandlerContext): string => {
    const name = /plumb_mock=(\w+)/.exec(context.requestHeader.get("Cookie") ?? "")?.[1];
    if (name && passwords[name]) return name;
    if (signedIn) return "admin";
    throw new ConnectError("sign in first", Code.Unauthenticated);
  };
  const found = (ref: ObjectRef | undefined) => {
    const delivery = world.delivery(ref);
    if (!delivery) throw new ConnectError(`${ref?.kind} ${ref?.namespace}/${ref?.name} is not there`, Code.NotFound);
    return delivery;
  };

  return (router: ConnectRouter) => {
    router.service(SessionService, {
      getSignIn: () => ({ local: true, oidcName: "Example Corp", oidcUrl: "/auth/login", hint: "The first password of admin: kubectl -n plumb-system get secret argocd-initial-admin-secret -o jsonpath='{.data.password}' | base64 -d", version: settings.version }),
      signIn({ username, password }, context) {
        if (passwords[username] !== password) throw new ConnectError("the name or the password is wrong", Code.Unauthenticated);
        context.responseHeader.set("Set-Cookie", `plumb_mock=${username}; Path=/; HttpOnly; SameSite=Lax`);
        return { expires: timestampFromMs(Date.now() + 86_400_000) };
      },
      signOut(_, context) {
        context.responseHeader.set("Set-Cookie", "plumb_mock=; Path=/; Max-Age=0");
        return {};
      },
      getMe(_, context) {
        const name = who(context);
        return { name, groups: name === "viewer" ? ["readers"] : ["admins"], kind: "account", pages: name === "viewer" ? allPages.slice(0, 5) : allPages };
      },
    });

    router.service(DeliveryService, {
      listDeliveries({ query, facets }, context) {
        who(context);
        const { rows, total, next } = page(deliveryFields, query, world.deliveries);
        return create(ListDeliveriesResponseSchema, { deliveries: rows, totalSize: total, nextPageToken: next, facets: facets ? facetsOf(deliveryFields, query, world.deliveries) : [], revision: String(world.revision) });
      },
      watchDeliveries: (request, context) => (who(context), watchDeliveries(world, request, context)),
      getDelivery: ({ ref }, context) => detailOf(world, found(ref), who(context) === "viewer"),
      watchGraph: (request, context) => (who(context), watchGraph(world, request, context)),
      getDiff: ({ ref, object, all }, context) => (who(context), diffOf(found(ref), object, all)),
      explain: ({ ref, object }, context) => (who(context), explain(world, found(ref), object)),
      getHistory: ({ ref }, context) => historyOf(found(ref), who(context) === "viewer"),
      getObject: ({ ref, object }, context) => (who(context), objectOf(found(ref), object)),
      streamLogs: (request, context) => (who(context), logLines(found(request.ref), request, context.signal)),
      act: (request, context) => act(world, found(request.ref), request, who(context), who(context) === "viewer"),
    });

    router.service(FleetService, {
      getOverview: (_, context) => (who(context), { deliveries: world.deliveries.length, facets: facetsOf(deliveryFields, undefined, world.deliveries, ["dialect", "health", "sync", "cluster", "project"]), sources: world.sources.length, sourcesFailing: world.sources.filter((s) => s.health?.state === "Degraded").length, clusters: clustersOf([]).length, held: world.deliveries.filter((d) => d.hold).length }),
      listSources({ query, facets }, context) {
        who(context);
        const { rows, total, next } = page(sourceFields, query, world.sources);
        return { sources: rows, totalSize: total, nextPageToken: next, facets: facets ? facetsOf(sourceFields, query, world.sources) : [], revision: sourcesRevision(world, query) };
      },
      watchSources: (request, context) => (who(context), watchSources(world, request, context)),
      getSource: ({ ref }, context) => sourceOf(world, ref, who(context) === "viewer"),
      watchSource: ({ ref }, context) => whenever(world, context, () => sourceOf(world, ref, who(context) === "viewer")),
      actOnSource({ ref, action }, context) {
        if (who(context) === "viewer") throw new ConnectError(`viewer may not ${action} ${ref?.kind} ${ref?.name}`, Code.PermissionDenied);
        const source = world.sources.find((s) => keyOf(s.ref) === keyOf(ref));
        if (source && action !== "refresh") world.changeSource(source, { suspended: action === "suspend", health: { ...source.health!, state: action === "suspend" ? "Suspended" : "Healthy" } });
        return { message: action === "refresh" ? `Looking at ${ref?.name}` : `${ref?.name}: ${action} done` };
      },
      listClusters: (_, context) => (who(context), { clusters: clustersOf(world.deliveries), revision: String(world.revision) }),
      getCluster: ({ name }, context) => (who(context), { cluster: clustersOf(world.deliveries).find((c) => c.name === name) }),
      watchClusters: (_, context) => (who(context), whenever(world, context, () => ({ reset: true, changed: clustersOf(world.deliveries), revision: String(world.revision) }))),
      listProjects: (_, context) => (who(context), { projects: projectsOf(world.deliveries), revision: String(world.revision) }),
      watchProjects: (_, context) => (who(context), whenever(world, context, () => ({ reset: true, changed: projectsOf(world.deliveries), revision: String(world.revision) }))),
      listActivity({ query, since, until }, context) {
        who(context);
        const between = world.activities.filter((a) => (!since || a.time!.seconds >= since.seconds) && (!until || a.time!.seconds < until.seconds));
        const { rows, next } = page(activityFields, query, between);
        return { activities: rows, nextPageToken: next, revision: String(world.activities.length) };
      },
      watchActivity: (request, context) => (who(context), watchActivity(world, request, context)),
      search({ text, limit }, context) {
        who(context);
        return { hits: search(world, text, limit || 20) as Hit[] };
      },
      getSettings(_, context) {
        if (who(context) === "viewer") throw new ConnectError("viewer may not see settings: this needs the right to get the object “settings”", Code.PermissionDenied);
        return settings;
      },
    });
  };
}

async function* watchDeliveries(world: World, request: WatchDeliveriesRequest, context: HandlerContext) {
  let revision = Number(request.since || -1);
  let first = revision < 0;
  if (first) revision = world.revision;
  while (!context.signal.aborted) {
    const { changed, removed } = world.changedSince(revision);
    revision = world.revision;
    const inside = first ? world.deliveries.filter((d) => matches(deliveryFields, request.query, d)) : changed.filter((d) => matches(deliveryFields, request.query, d));
    const outside = first ? [] : changed.filter((d) => !matches(deliveryFields, request.query, d)).map((d) => d.ref!);
    const gone = removed.map((key) => { const [group, kind, namespace, name] = key.split("/"); return refOf({ group, kind, namespace, name }); });
    const facets = request.facets ? facetsOf(deliveryFields, request.query, world.deliveries) : [];
    yield create(WatchDeliveriesResponseSchema, { reset: first, changed: inside, removed: [...outside, ...gone], totalSize: world.deliveries.filter((d) => matches(deliveryFields, request.query, d)).length, facets, revision: String(revision) });
    first = false;
    if (world.revision === revision) await world.changes(context.signal);
  }
}

async function* watchGraph(world: World, request: WatchGraphRequest, context: HandlerContext) {
  let seen = "";
  let shown: string[] = [];
  for (let first = true; !context.signal.aborted; first = false) {
    const delivery = world.delivery(request.ref);
    if (!delivery) throw new ConnectError("it was deleted", Code.NotFound);
    const now = `${delivery.health?.state}${delivery.sync}${delivery.message}${delivery.objects}`;
    if (now !== seen) {
      const changed = graphFor(world, delivery);
      const ids = new Set(changed.map((node) => node.id));
      yield { reset: first, changed, removed: shown.filter((id) => !ids.has(id)), note: "" };
      shown = [...ids];
    }
    seen = now;
    await world.changes(context.signal);
  }
}

function search(world: World, text: string, limit: number) {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  const has = (s: string) => words.every((word) => s.toLowerCase().includes(word));
  const deliveries = world.deliveries.filter((d) => has(`${d.ref!.namespace}/${d.ref!.name} ${d.ref!.kind}`)).slice(0, limit);
  const sources = world.sources.filter((s) => has(`${s.ref!.namespace}/${s.ref!.name} ${s.ref!.kind} ${s.url}`)).slice(0, 5);
  const objects = deliveries.slice(0, 3).flatMap((d) => nodesOf(d).filter((n) => n.delivered && has(n.object!.name)).slice(0, 3).map((n) => ({ type: "object", ref: n.object, delivery: d.ref, health: n.health, detail: "" })));
  return [
    ...deliveries.map((d) => ({ type: "delivery", ref: d.ref, health: d.health, detail: d.cluster })),
    ...sources.map((s) => ({ type: "source", ref: s.ref, health: s.health, detail: s.url })),
    ...objects,
  ].slice(0, limit);
}

// whenever answers anew whenever something changed.
async function* whenever<T>(world: World, context: HandlerContext, answer: () => T) {
  while (!context.signal.aborted) {
    yield answer();
    await world.changes(context.signal);
  }
}

function sourcesRevision(world: World, query: Query | undefined): string {
  return JSON.stringify(page(sourceFields, query, world.sources).rows.map((s) => [keyOf(s.ref), s.health?.state, s.suspended]));
}

// watchSources sends every source again whenever one is another.
async function* watchSources(world: World, request: WatchSourcesRequest, context: HandlerContext) {
  let seen = request.since;
  for await (const revision of whenever(world, context, () => sourcesRevision(world, request.query))) {
    const rows = world.sources.filter((s) => matches(sourceFields, request.query, s));
    // The first message opens the stream, whatever there is to tell.
    if (revision === seen) yield { totalSize: rows.length, revision };
    else yield { changed: rows, totalSize: rows.length, facets: facetsOf(sourceFields, request.query, world.sources), revision };
    seen = revision;
  }
}

async function* watchActivity(world: World, request: WatchActivityRequest, context: HandlerContext) {
  let seen = request.after ? Number(request.after) : world.activities.length;
  for await (const now of whenever(world, context, () => world.activities.length)) {
    const activities = world.activities.slice(0, now - seen).filter((a) => matches(activityFields, request.query, a));
    seen = now;
    yield { activities, revision: String(now) };
  }
}
