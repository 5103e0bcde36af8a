// The deliveries of the generated world.
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { CommitSchema, type ObjectRef } from "../src/gen/plumb/v1/common_pb";
import { DeliverySchema, HoldSchema, type Delivery } from "../src/gen/plumb/v1/deliveries_pb";
import { refOf } from "../src/api/refs";
import { clusters, failures, people, services, subjects, teams } from "./names";
import { Random } from "./random";

type Kind = "Kustomization" | "HelmRelease" | "Application" | "ApplicationSet";

const groups: Record<Kind, string> = {
  Kustomization: "kustomize.toolkit.fluxcd.io",
  HelmRelease: "helm.toolkit.fluxcd.io",
  Application: "argoproj.io",
  ApplicationSet: "argoproj.io",
};
const versions: Record<Kind, string> = { Kustomization: "v1", HelmRelease: "v2", Application: "v1alpha1", ApplicationSet: "v1alpha1" };

export function generateDeliveries(count: number, now: number): Delivery[] {
  const random = new Random("plumb");
  const seen = new Set<string>();
  const deliveries = landmarks(now);
  for (let i = 0; deliveries.length < count; i++) {
    const delivery = generate(random, i, now);
    const key = `${delivery.ref!.kind}/${delivery.ref!.namespace}/${delivery.ref!.name}`;
    if (seen.has(key)) continue;
    seen.add(key);
    deliveries.push(delivery);
  }
  return deliveries;
}

function generate(random: Random, index: number, now: number): Delivery {
  const kind = random.weighted<Kind>([["Kustomization", 42], ["HelmRelease", 18], ["Application", 38], ["ApplicationSet", 2]]);
  const flux = kind === "Kustomization" || kind === "HelmRelease";
  const team = random.pick(teams);
  const environment = random.weighted([["prod", 5], ["staging", 3], ["dev", 2]] as const);
  const service = random.pick(services);
  const cluster = environment === "prod" ? random.pick(clusters.slice(1, 4)) : environment === "staging" ? clusters[4]! : random.pick([clusters[0]!, clusters[5]!]);
  const name = kind === "ApplicationSet" ? `${team}-${service}-set${index % 97}` : `${team}-${service}-${environment}${index > 900 ? `-${index % 71}` : ""}`;
  const namespace = flux ? (random.chance(0.5) ? "flux-system" : team) : "argocd";
  const hash = random.hex(40);
  const applied = random.chance(0.85) ? hash : random.hex(40);
  const changed = now - Math.floor(60_000 * Math.pow(random.next(), 3) * 60 * 24 * 40);
  const row: MessageInitShape<typeof DeliverySchema> = {
    ref: refOf({ group: groups[kind], version: versions[kind], kind, namespace, name }),
    dialect: flux ? "flux" : "argo",
    cluster: cluster.name,
    targetNamespace: `${team}-${environment}`,
    project: flux ? "" : random.chance(0.2) ? "default" : team,
    source: sourceOf(kind, team, service, environment, random),
    revision: kind === "HelmRelease" ? `${1 + random.upTo(4)}.${random.upTo(20)}.${random.upTo(9)}` : flux ? `main@sha1:${hash}` : hash,
    appliedRevision: kind === "HelmRelease" ? "" : flux ? `main@sha1:${applied}` : applied,
    commit: create(CommitSchema, { hash, subject: random.pick(subjects), author: random.pick(people), time: timestampFromMs(changed - 90_000), signedBy: random.chance(0.3) ? random.pick(people) : "" }),
    health: { state: "Healthy", reason: "", message: "" },
    sync: "Synced",
    phase: "done",
    reason: flux ? "ReconciliationSucceeded" : "Synced",
    message: flux ? `Applied revision: main@sha1:${hash.slice(0, 8)}` : "successfully synced (all tasks run)",
    labels: { team, env: environment, "app.kubernetes.io/name": service, ...(random.chance(0.2) ? { tier: random.pick(["critical", "standard"]) } : {}) },
    created: timestampFromMs(changed - 86_400_000 * (1 + random.upTo(300))),
    changed: timestampFromMs(changed),
    objects: 3 + Math.floor(Math.pow(random.next(), 3) * 60),
    automation: "automatic",
    dependsOn: flux && random.chance(0.15) ? [platform()] : [],
    madeBy: flux ? undefined : random.chance(0.3) ? refOf({ group: "argoproj.io", version: "v1alpha1", kind: "ApplicationSet", namespace: "argocd", name: `${teams[teams.indexOf(team) % 8]}-fleet` }) : undefined,
  };
  const delivery = create(DeliverySchema, row);
  trouble(delivery, random);
  return delivery;
}

// landmarks are those that others refer to.
function landmarks(now: number): Delivery[] {
  const crds = generate(new Random("platform"), 0, now);
  Object.assign(crds, { ref: platform(), dialect: "flux", cluster: "in-cluster", project: "", madeBy: undefined, dependsOn: [], suspended: false, hold: undefined, deleting: false });
  settle(crds);
  fail(crds, new Random("broken"));
  const fleets = teams.slice(0, 8).map((team, i) => {
    const set = generate(new Random(`fleet${i}`), 0, now);
    Object.assign(set, { ref: refOf({ group: groups.ApplicationSet, version: "v1alpha1", kind: "ApplicationSet", namespace: "argocd", name: `${team}-fleet` }), dialect: "argo", project: team, madeBy: undefined, dependsOn: [], suspended: false, hold: undefined, deleting: false });
    set.labels.team = team;
    settle(set);
    if (i === 2) fail(set, new Random("fleet"));
    return set;
  });
  return [crds, ...fleets];
}

function platform(): ObjectRef {
  return refOf({ group: groups.Kustomization, version: "v1", kind: "Kustomization", namespace: "flux-system", name: "platform-crds" });
}

function sourceOf(kind: Kind, team: string, service: string, environment: string, random: Random): MessageInitShape<typeof DeliverySchema>["source"] {
  if (kind === "HelmRelease")
    return { ref: refOf({ group: "source.toolkit.fluxcd.io", version: "v1", kind: "HelmRepository", namespace: "flux-system", name: random.pick(["bitnami", "prometheus", "internal"]) }), url: "https://charts.example.org", chart: service, targetRevision: `>=${1 + random.upTo(3)}.0.0` };
  if (kind === "Kustomization") {
    if (random.chance(0.1)) return { ref: refOf({ group: "source.toolkit.fluxcd.io", version: "v1", kind: "OCIRepository", namespace: "flux-system", name: `${team}-manifests` }), url: `oci://registry.example.org/${team}/manifests`, path: `./${environment}/${service}`, targetRevision: "latest" };
    return { ref: refOf({ group: "source.toolkit.fluxcd.io", version: "v1", kind: "GitRepository", namespace: "flux-system", name: `${team}-deploy` }), url: `https://git.example.org/${team}/deploy`, path: `./${environment}/${service}`, targetRevision: "main" };
  }
  return { url: `https://git.example.org/${team}/deploy`, path: `${environment}/${service}`, targetRevision: random.chance(0.8) ? "main" : `v${1 + random.upTo(5)}.${random.upTo(10)}.*` };
}

// trouble makes some of them other than healthy and synced.
function trouble(delivery: Delivery, random: Random) {
  const kind = random.weighted([["none", 880], ["failed", 45], ["progressing", 18], ["drift", 32], ["suspended", 20], ["missing", 4], ["held", 2], ["deleting", 1]] as const);
  if (kind === "failed") fail(delivery, random);
  if (kind === "progressing") progress(delivery, random);
  if (kind === "drift") Object.assign(delivery, { sync: "OutOfSync", outOfSync: 1 + random.upTo(4), automation: delivery.dialect === "argo" ? "manual" : "automatic", reason: "OutOfSync", message: "the cluster differs from what the source says; it is synced by hand" });
  if (kind === "suspended") Object.assign(delivery, { suspended: true, automation: "suspended", reason: "Suspended", message: "suspended by ann@example.org: freeze until Monday", health: { ...delivery.health!, state: "Suspended" } });
  if (kind === "missing") Object.assign(delivery, { sync: "OutOfSync", unhealthy: 1, reason: "Missing", message: "2 objects are not there and were never applied", health: { ...delivery.health!, state: "Missing" } });
  if (kind === "held") hold(delivery, random);
  if (kind === "deleting") Object.assign(delivery, { deleting: true, running: true, phase: "delete", message: "deleting 12 objects", reason: "Deleting" });
}

export function fail(delivery: Delivery, random: Random) {
  const failure = random.weighted(failures.map((f) => [f, f.share] as const));
  const message = failure.message(delivery.ref!.name);
  Object.assign(delivery, { reason: failure.reason, message, phase: failure.phase, unhealthy: 1 + random.upTo(3), running: false, outOfSync: failure.phase === "apply" ? 1 + random.upTo(2) : 0, sync: failure.phase === "settle" ? "Synced" : failure.phase === "apply" ? "OutOfSync" : "Unknown" });
  Object.assign(delivery.health!, { state: failure.health, reason: failure.reason, message });
}

export function progress(delivery: Delivery, random: Random) {
  const phase = random.pick(["render", "apply", "settle"]);
  const message = { render: "building manifests", apply: "applying 14 objects", settle: "waiting for 2 objects to become healthy" }[phase]!;
  Object.assign(delivery, { running: true, phase, reason: "Progressing", message, unhealthy: 0 });
  Object.assign(delivery.health!, { state: "Progressing", reason: "Progressing", message });
}

export function settle(delivery: Delivery) {
  const flux = delivery.dialect === "flux";
  Object.assign(delivery, { running: false, phase: "done", sync: "Synced", outOfSync: 0, unhealthy: 0, appliedRevision: delivery.revision, reason: flux ? "ReconciliationSucceeded" : "Synced", message: flux ? `Applied revision: ${delivery.revision.slice(0, 18)}` : "successfully synced (all tasks run)" });
  Object.assign(delivery.health!, { state: "Healthy", reason: "", message: "" });
}

function hold(delivery: Delivery, random: Random) {
  const total = 18 + random.upTo(30);
  const deletes = Array.from({ length: Math.min(20, total - 4) }, (_, i) => refOf({ group: i % 3 === 0 ? "apps" : "", version: "v1", kind: ["Deployment", "Service", "ConfigMap"][i % 3]!, namespace: delivery.targetNamespace, name: `${services[i % services.length]}` }));
  Object.assign(delivery, { hold: create(HoldSchema, { token: random.hex(16), why: `${deletes.length} of ${total} objects would be deleted`, total, deletes }), reason: "DeletionHeld", message: `${deletes.length} of ${total} objects would be deleted; this waits for an approval`, sync: "OutOfSync" });
}

