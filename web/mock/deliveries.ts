// The deliveries of the generated world.
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { CommitSchema, type ObjectRef } from "../src/gen/plumb/v1/common_pb";
import { DeliverySchema, HoldSchema, SourceRefSchema, type Delivery } from "../src/gen/plumb/v1/deliveries_pb";
import { refOf } from "../src/api/refs";
import { clusters, commits, failures, people, services, teams, type Failure, type Kind } from "./names";
import { partsOf, workloadOf } from "./parts";
import { Random } from "./random";

const groups: Record<Kind, string> = {
  Kustomization: "kustomize.toolkit.fluxcd.io",
  HelmRelease: "helm.toolkit.fluxcd.io",
  Application: "argoproj.io",
  ApplicationSet: "argoproj.io",
};
const versions: Record<Kind, string> = { Kustomization: "v1", HelmRelease: "v2", Application: "v1alpha1", ApplicationSet: "v1alpha1" };
const sourceGroup = "source.toolkit.fluxcd.io";
const day = 86_400_000;

// The team whose repository cannot be read by Flux.
export const lockedOut = "logistics";

export function generateDeliveries(count: number, now: number): Delivery[] {
  const random = new Random("plumb");
  const seen = new Set<string>();
  const deliveries = [platformCRDs(now), ...teams.map((team, i) => fleet(team, i === 2, now))];
  for (let i = 0; deliveries.length < count; i++) {
    const delivery = generate(random, i, now);
    const key = `${delivery.ref!.kind}/${delivery.ref!.namespace}/${delivery.ref!.name}`;
    if (seen.has(key)) continue;
    seen.add(key);
    deliveries.push(delivery);
  }
  for (const set of deliveries) if (set.ref!.kind === "ApplicationSet") set.objects = deliveries.filter((d) => d.madeBy?.name === set.ref!.name).length;
  return deliveries;
}

function generate(random: Random, index: number, now: number): Delivery {
  const kind = random.weighted<Kind>([["Kustomization", 43], ["HelmRelease", 18], ["Application", 39]]);
  const flux = kind !== "Application";
  const team = random.pick(teams);
  const environment = random.weighted([["prod", 5], ["staging", 3], ["dev", 2]] as const);
  const service = random.pick(services);
  const cluster = environment === "prod" ? random.pick(clusters.slice(1, 4)) : environment === "staging" ? clusters[4]! : random.pick([clusters[0]!, clusters[5]!]);
  const name = `${team}-${service}-${environment}${index > 900 ? `-${1 + (index % 71)}` : ""}`;
  const hash = random.hex(40);
  const changed = now - Math.floor(60_000 * Math.pow(random.next(), 3) * 60 * 24 * 40);
  const source = sourceOf(kind, team, service, environment, random);
  const revision = kind === "HelmRelease" ? source.targetRevision!.replace(".x", `.${random.upTo(20)}.${random.upTo(9)}`) : source.ref?.kind === "OCIRepository" ? `latest@sha256:${random.hex(64)}` : flux ? `main@sha1:${hash}` : hash;
  const author = random.pick(people);
  const madeBy = kind === "Application" && random.chance(0.3) ? fleetRef(team) : undefined;
  const delivery = create(DeliverySchema, {
    ref: refOf({ group: groups[kind], version: versions[kind], kind, namespace: flux ? (random.chance(0.5) ? "flux-system" : team) : "argocd", name }),
    dialect: flux ? "flux" : "argo",
    cluster: cluster.name,
    targetNamespace: `${team}-${environment}`,
    project: flux ? "" : !madeBy && random.chance(0.2) ? "default" : team,
    source,
    revision,
    commit: revision.includes(hash) ? create(CommitSchema, { hash, subject: random.pick(commits).subject, author, time: timestampFromMs(changed - 90_000), signedBy: random.chance(0.3) ? author : "" }) : undefined,
    health: { state: "Healthy" },
    labels: { team, env: environment, "app.kubernetes.io/name": service, ...(random.chance(0.2) ? { tier: random.pick(["critical", "standard"]) } : {}) },
    created: timestampFromMs(changed - day * (1 + random.upTo(300))),
    changed: timestampFromMs(changed),
    automation: kind === "Application" && random.chance(0.25) ? "manual" : "automatic",
    dependsOn: kind === "Kustomization" && random.chance(0.15) ? [platform()] : [],
    madeBy,
  });
  settle(delivery);
  // Most are small, and some are not.
  delivery.objects = partsOf(delivery, 6 + Math.floor(Math.pow(random.next(), 3) * 60)).length;
  trouble(delivery, random);
  return delivery;
}

// platformCRDs is what others wait for.
function platformCRDs(now: number): Delivery {
  const hash = new Random("platform-crds").hex(40);
  const crds = create(DeliverySchema, {
    ref: platform(),
    dialect: "flux",
    cluster: "in-cluster",
    targetNamespace: "platform-prod",
    source: gitSource("platform", "crds", "prod"),
    revision: `main@sha1:${hash}`,
    commit: { hash, subject: "Move the ingress to the base", author: people[1], time: timestampFromMs(now - 25 * 60_000) },
    health: { state: "Healthy" },
    labels: { team: "platform", env: "prod", "app.kubernetes.io/name": "crds" },
    created: timestampFromMs(now - 212 * day),
    changed: timestampFromMs(now - 23 * 60_000),
    automation: "automatic",
  });
  settle(crds);
  crds.objects = partsOf(crds, 6).length;
  failWith(crds, failures.find((f) => f.reason === "BuildFailed")!);
  return crds;
}

// fleet is the ApplicationSet of a team.
function fleet(team: string, broken: boolean, now: number): Delivery {
  const random = new Random(`fleet ${team}`);
  const changed = now - Math.floor(random.next() * 9 * day);
  const set = create(DeliverySchema, {
    ref: fleetRef(team),
    dialect: "argo",
    cluster: "in-cluster",
    project: team,
    health: { state: "Healthy" },
    labels: { team },
    created: timestampFromMs(changed - day * (30 + random.upTo(200))),
    changed: timestampFromMs(changed),
    automation: "automatic",
  });
  settle(set);
  if (broken) failWith(set, failures.find((f) => f.kinds.includes("ApplicationSet"))!);
  return set;
}

function fleetRef(team: string): ObjectRef {
  return refOf({ group: groups.ApplicationSet, version: "v1alpha1", kind: "ApplicationSet", namespace: "argocd", name: `${team}-fleet` });
}

function platform(): ObjectRef {
  return refOf({ group: groups.Kustomization, version: "v1", kind: "Kustomization", namespace: "flux-system", name: "platform-crds" });
}

type Source = MessageInitShape<typeof SourceRefSchema>;

function gitSource(team: string, service: string, environment: string): Source {
  return { ref: refOf({ group: sourceGroup, version: "v1", kind: "GitRepository", namespace: "flux-system", name: `${team}-deploy` }), url: `https://git.example.org/${team}/deploy`, path: `./${environment}/${service}`, targetRevision: "main" };
}

function sourceOf(kind: Kind, team: string, service: string, environment: string, random: Random): Source {
  if (kind === "HelmRelease") {
    const repository = random.pick(["charts", "charts-stable"]);
    return { ref: refOf({ group: sourceGroup, version: "v1", kind: "HelmRepository", namespace: "flux-system", name: repository }), url: `https://${repository}.example.org`, chart: service, targetRevision: `${1 + random.upTo(4)}.x` };
  }
  if (kind === "Application") return { url: `https://git.example.org/${team}/deploy`, path: `${environment}/${service}`, targetRevision: random.chance(0.8) ? "main" : `v${1 + random.upTo(5)}.${random.upTo(10)}.*` };
  if (random.chance(0.1)) return { ref: refOf({ group: sourceGroup, version: "v1", kind: "OCIRepository", namespace: "flux-system", name: `${team}-manifests` }), url: `oci://registry.example.org/${team}/manifests`, path: `./${environment}/${service}`, targetRevision: "latest" };
  return gitSource(team, service, environment);
}

// trouble makes some of them other than healthy and synced.
function trouble(delivery: Delivery, random: Random) {
  const kind = random.weighted([["none", 880], ["failed", 45], ["progressing", 18], ["drift", 32], ["suspended", 20], ["missing", 4], ["held", 2], ["deleting", 1]] as const);
  const argo = delivery.dialect === "argo";
  if (kind === "failed") fail(delivery, random);
  if (kind === "progressing") progress(delivery, random);
  // What Flux delivers is put right before anybody sees it.
  if (kind === "drift" && argo) Object.assign(delivery, { sync: "OutOfSync", outOfSync: 1 + random.upTo(2), automation: "manual" });
  if (kind === "suspended") suspend(delivery);
  if (kind === "missing" && argo) neverSynced(delivery);
  if (kind === "held" && delivery.ref!.kind !== "HelmRelease") hold(delivery, random);
  if (kind === "deleting") Object.assign(delivery, { deleting: true, running: true, phase: "delete", message: `deleting ${delivery.objects} objects`, reason: "Progressing" });
}

// fail lets something go wrong that can go wrong with its kind.
export function fail(delivery: Delivery, random: Random) {
  const { kind } = delivery.ref!;
  const waits = kind === "Kustomization" && delivery.dependsOn.length > 0;
  const locked = delivery.labels.team === lockedOut && delivery.source?.ref?.kind === "GitRepository";
  const reason = waits ? "DependencyNotReady" : locked ? "ArtifactFailed" : undefined;
  const able = failures.filter((f) => f.kinds.includes(kind as Kind) && (reason ? f.reason === reason : f.share > 0));
  failWith(delivery, reason ? able[0]! : random.weighted(able.map((f) => [f, f.share] as const)));
}

// messageOf is a failure in the words for one delivery.
export function messageOf(failure: Failure, d: Delivery): string {
  return failure.message({ namespace: d.targetNamespace, workload: workloadOf(d), team: d.labels.team ?? "", path: (d.source?.path ?? "").replace(/^\.\//, "") });
}

function failWith(delivery: Delivery, failure: Failure) {
  const { reason, phase, health } = failure;
  const message = messageOf(failure, delivery);
  const sync = phase === "settle" ? "Synced" : phase === "apply" ? "OutOfSync" : "Unknown";
  Object.assign(delivery, { reason, message, phase, unhealthy: phase === "settle" ? 1 : 0, outOfSync: phase === "apply" ? 1 : 0, running: false, sync });
  Object.assign(delivery.health!, { state: health, reason, message });
  // What could not be rendered or applied has left the revision before in place.
  if (phase !== "settle") delivery.appliedRevision = delivery.revision.replace(/[0-9a-f]{40}$/, new Random(delivery.revision).hex(40));
}

export function progress(delivery: Delivery, random: Random) {
  const phase = random.pick(["render", "apply", "settle"]);
  const message = { render: "building manifests", apply: `applying ${delivery.objects} objects`, settle: "waiting for 1 object to become healthy" }[phase]!;
  Object.assign(delivery, { running: true, phase, reason: "Progressing", message, unhealthy: 0 });
  Object.assign(delivery.health!, { state: "Progressing", reason: "Progressing", message });
}

export function settle(delivery: Delivery) {
  Object.assign(delivery, { running: false, phase: "done", sync: "Synced", outOfSync: 0, unhealthy: 0, appliedRevision: delivery.revision, reason: "", message: "" });
  Object.assign(delivery.health!, { state: "Healthy", reason: "", message: "" });
}

export function suspend(delivery: Delivery) {
  Object.assign(delivery, { suspended: true, automation: "suspended", reason: "", message: "", health: { ...delivery.health!, state: "Suspended" } });
}

function neverSynced(delivery: Delivery) {
  const message = "it was never synced";
  Object.assign(delivery, { sync: "OutOfSync", outOfSync: delivery.objects, unhealthy: delivery.objects, automation: "manual", phase: "", appliedRevision: "", reason: "NotFound", message });
  Object.assign(delivery.health!, { state: "Missing", reason: "NotFound", message });
}

// hold is a commit that took most of its components away.
function hold(delivery: Delivery, random: Random) {
  delivery.objects = 24;
  const parts = partsOf(delivery);
  delivery.objects = parts.length;
  const deletes = partsOf(delivery).slice(4).map((part) => part.object).slice(0, 20);
  const why = `${deletes.length} of ${parts.length} objects would be deleted`;
  Object.assign(delivery, { hold: create(HoldSchema, { token: random.hex(16), why, total: parts.length, deletes }), reason: "PruneHeld", message: why, phase: "prune", sync: "OutOfSync", outOfSync: deletes.length });
}
