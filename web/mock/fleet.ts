// Clusters, projects, activity and settings of the generated world.
import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { refOf } from "../src/api/refs";
import { ActivitySchema, ClusterSchema, GetSettingsResponseSchema, ProjectSchema, type Activity } from "../src/gen/plumb/v1/fleet_pb";
import type { Delivery } from "../src/gen/plumb/v1/deliveries_pb";
import { clusters, people, teams } from "./names";
import type { Fields } from "./query";
import { Random } from "./random";
import { faultOf } from "./story";

export function clustersOf(deliveries: readonly Delivery[], now = Date.now()) {
  return clusters.map(({ name, server, version, region, since }) => {
    const mine = deliveries.filter((d) => d.cluster === name);
    const away = name === "edge-fleet";
    const own = name === "in-cluster";
    return create(ClusterSchema, {
      name,
      server,
      version,
      labels: { region },
      annotations: own ? {} : { "example.org/owner": "platform" },
      secret: own ? "" : `argocd/cluster-${name}`,
      reachable: !away,
      since: timestampFromMs(now - (away ? 40 * 60_000 : since * 86_400_000)),
      watchedKinds: 24,
      watchedBy: "plumb-0",
      objects: mine.reduce((sum, d) => sum + d.objects, 0),
      deliveries: mine.length,
      unhealthy: mine.filter((d) => d.health?.state === "Degraded" || d.health?.state === "Missing").length,
      health: away ? { state: "Degraded", reason: "Unreachable", message: "dial tcp 198.51.100.7:443: i/o timeout" } : { state: "Healthy" },
    });
  });
}

export function projectsOf(deliveries: readonly Delivery[]) {
  return ["default", ...teams].map((name) => {
    const everything = name === "default";
    const sources = everything ? ["*"] : [`https://git.example.org/${name}/*`];
    const servers = everything ? ["*"] : clusters.map((c) => c.server);
    const namespace = everything ? "*" : `${name}-*`;
    const windows = everything ? [] : ["allow 0 6 * * * for 18h0m0s, applications *-prod", "deny 0 0 24 12 * for 72h0m0s, applications *-prod"];
    return create(ProjectSchema, {
      ref: refOf({ group: "argoproj.io", version: "v1alpha1", kind: "AppProject", namespace: "argocd", name }),
      description: everything ? "" : `Everything of team ${name}`,
      sources,
      destinations: servers.map((server) => `${server}/${namespace}`),
      roles: everything ? [] : ["deployer", "reader"],
      windows,
      deliveries: deliveries.filter((d) => d.project === name).length,
      findings: name === "risk" ? [{ reason: "UnknownValue", severity: "warning", message: "role reader has no policy: nobody may do anything by it", field: "spec.roles[1].policies", advice: "give it one, or take it out" }] : [],
      manifest: projectManifest(name, sources, servers, namespace),
    });
  });
}

function projectManifest(name: string, sources: readonly string[], servers: readonly string[], namespace: string): string {
  const list = (title: string, items: readonly string[]) => `  ${title}:\n${items.join("")}`;
  const window = (kind: string, schedule: string, duration: string) => `  - kind: ${kind}\n    schedule: ${schedule}\n    duration: ${duration}\n    timeZone: Europe/Berlin\n    applications:\n    - '*-prod'\n`;
  return [
    `apiVersion: argoproj.io/v1alpha1\nkind: AppProject\nmetadata:\n  name: ${name}\n  namespace: argocd\nspec:\n`,
    list("sourceRepos", sources.map((s) => `  - '${s}'\n`)),
    list("destinations", servers.map((s) => `  - server: '${s}'\n    namespace: '${namespace}'\n`)),
    name !== "default" && list("syncWindows", [window("allow", "0 6 * * *", "18h"), window("deny", "0 0 24 12 *", "72h")]),
  ].filter(Boolean).join("");
}

// What people do to which kinds, and what is said of it.
const deeds: Record<string, { kinds: readonly string[]; message: string }> = {
  sync: { kinds: ["Application", "Kustomization", "HelmRelease"], message: "reconciling now" },
  refresh: { kinds: ["Application", "Kustomization", "HelmRelease"], message: "looking at the source" },
  suspend: { kinds: ["Kustomization", "HelmRelease"], message: "suspended: freeze until Monday" },
  resume: { kinds: ["Kustomization", "HelmRelease"], message: "resumed" },
  rollback: { kinds: ["Application"], message: "rolling back" },
  approve: { kinds: ["Kustomization", "Application"], message: "deletions approved" },
};

export function generateActivities(deliveries: readonly Delivery[], now: number): Activity[] {
  const random = new Random("activity");
  const running = deliveries.filter((d) => d.ref!.kind !== "ApplicationSet");
  let time = now;
  return Array.from({ length: 600 }, (_, index) => {
    time -= random.upTo(400_000);
    const common = { id: String(600 - index), time: timestampFromMs(time), result: "Succeeded" };
    const who = random.upTo(people.length);
    const person = { actor: people[who]!.replace(/.*<(.*)>/, "$1"), address: `192.0.2.${17 + who * 9}` };
    if (random.chance(0.05)) return create(ActivitySchema, { ...common, ...person, action: "login", message: "by single sign-on" });
    if (random.chance(0.25)) {
      const action = random.weighted([["sync", 8], ["refresh", 6], ["suspend", 2], ["resume", 2], ["rollback", 2], ["approve", 1]] as const);
      const { kinds, message } = deeds[action]!;
      const d = random.pick(running.filter((d) => kinds.includes(d.ref!.kind)));
      return create(ActivitySchema, { ...common, ...person, action, object: d.ref, revision: d.revision, message });
    }
    const d = random.pick(running);
    const fault = faultOf(d);
    const changes = fault ? 0 : 1 + Math.floor(Math.pow(random.next(), 3) * 5);
    return create(ActivitySchema, { ...common, action: "run", object: d.ref, revision: d.revision, failed: !!fault && !fault.waiting, result: fault?.reason ?? "Succeeded", message: fault?.message, changes });
  });
}

export const activityFields: Fields<Activity> = {
  facets: { kind: (a) => a.object?.kind ?? "", namespace: (a) => a.object?.namespace ?? "", actor: (a) => a.actor, result: (a) => a.result, delivery: (a) => a.object?.name ?? "", action: (a) => a.action, failed: (a) => String(a.failed) },
  order: {},
  text: (a) => [a.actor, a.action, a.object?.name, a.object?.namespace, a.message].join(" ").toLowerCase(),
  labels: () => ({}),
  worst: () => 0,
};

const flag = (name: string, value: string, help: string, chosen = false) => ({ name, value, help, from: chosen ? `--${name}` : "default", origin: chosen ? "flag" : "default" });
const entry = (place: string) => (name: string, value: string, help: string, said = true) => ({ name, value, help, from: said ? `ConfigMap ${place}` : "default", origin: said ? "configmap" : "default" });
const cm = entry("argocd/argocd-cm");
const rbac = entry("argocd/argocd-rbac-cm");

export const settings = create(GetSettingsResponseSchema, {
  version: "v1.0.0",
  findings: [{ reason: "NotActedOn", severity: "warning", message: "ui.bannercontent is not acted on", field: "data[ui.bannercontent]", advice: "take it out, or keep it for Argo CD" }],
  groups: [
    { title: "Flags", settings: [flag("data-dir", "/data", "keep mirrors, archives and the journal in this DIR", true), flag("leader-elect", "true", "act only while holding the Lease, so that several replicas can run", true), flag("concurrent", "0", "deliveries worked on at a time; 0 chooses"), flag("log-level", "info", "debug, info or error"), flag("runtime-namespace", "plumb-system", "namespace of Plumb's own Secret and Lease")] },
    { title: "argocd/argocd-rbac-cm", settings: [rbac("policy.csv", "g, platform, role:admin\np, role:deployer, applications, sync, */*, allow\n", "Who may do what: rules and roles. Without any, only admin may do anything."), rbac("policy.default", "role:readonly", "The role of those for whom no rule speaks."), rbac("policy.matchMode", "glob", "How the objects of rules are compared: glob or regex.", false), rbac("scopes", "[groups]", "Claims of an identity provider that name groups.", false)] },
    { title: "argocd/argocd-cm", settings: [cm("oidc.config", "clientID: plumb\nclientSecret: $oidc.company.clientSecret\nissuer: https://idp.example.org\nname: Example Corp\n", "The identity provider."), cm("ui.bannercontent", "Maintenance on Friday", ""), cm("url", "https://plumb.example.org", "Where people reach the console."), cm("admin.enabled", "true", "The local user admin may sign in.", false), cm("timeout.reconciliation", "3m0s", "How often repositories of Applications are looked at, where no webhook tells.", false), cm("users.session.duration", "24h", "How long a sign-in lasts.", false)] },
  ],
});
