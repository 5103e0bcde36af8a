// Sources, clusters, projects, activity and settings of the generated world.
import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { keyOf, refOf } from "../src/api/refs";
import { ActivitySchema, ClusterSchema, GetSettingsResponseSchema, ProjectSchema, SourceSchema, type Activity, type Source } from "../src/gen/plumb/v1/fleet_pb";
import type { Delivery } from "../src/gen/plumb/v1/deliveries_pb";
import { clusters, people, subjects, teams } from "./names";
import { Random } from "./random";
import type { Fields } from "./query";

export function generateSources(deliveries: readonly Delivery[], now: number): Source[] {
  const random = new Random("sources");
  const found = new Map<string, Source>();
  for (const d of deliveries) {
    const declared = d.source?.ref;
    const ref = declared ?? refOf({ version: "v1", kind: "Secret", namespace: "argocd", name: `repo-${d.labels.team}` });
    const source = found.get(keyOf(ref));
    if (source) source.readers++;
    else {
      const broken = d.labels.team === "logistics" && ref.kind === "GitRepository";
      const suspended = !broken && random.chance(0.03);
      const hash = random.hex(40);
      found.set(keyOf(ref), create(SourceSchema, { ref, dialect: d.dialect, url: d.source?.url, targetRevision: d.source?.targetRevision, revision: ref.kind === "HelmRepository" ? `sha256:${random.hex(64)}` : `main@sha1:${hash}`, commit: ref.kind.startsWith("Git") || !declared ? { hash, subject: random.pick(subjects), author: random.pick(people), time: timestampFromMs(now - random.upTo(86_400_000)) } : undefined, health: { state: broken ? "Degraded" : suspended ? "Suspended" : "Healthy", reason: broken ? "AuthenticationFailed" : "", message: "" }, reason: broken ? "AuthenticationFailed" : "Succeeded", message: broken ? "authentication required for https://git.example.org/logistics/deploy" : "stored artifact", suspended, fetched: timestampFromMs(now - random.upTo(600_000)), readers: 1, labels: { team: d.labels.team ?? "" }, created: timestampFromMs(now - 86_400_000 * (10 + random.upTo(300))) }));
    }
  }
  return [...found.values()];
}

export const sourceFields: Fields<Source> = {
  facets: { dialect: (s) => s.dialect, kind: (s) => s.ref!.kind, namespace: (s) => s.ref!.namespace, health: (s) => s.health?.state ?? "Unknown", suspended: (s) => String(s.suspended) },
  order: { name: (s) => s.ref!.name, namespace: (s) => s.ref!.namespace, url: (s) => s.url, fetched: (s) => Number(s.fetched?.seconds ?? 0n), readers: (s) => s.readers, health: (s) => s.health?.state ?? "" },
  text: (s) => [s.ref!.name, s.ref!.namespace, s.ref!.kind, s.url, s.message].join(" ").toLowerCase(),
  labels: (s) => s.labels,
  worst: (s) => ({ Degraded: 3, Unknown: 2, Suspended: 1 })[s.health?.state ?? ""] ?? 0,
};

export function clustersOf(deliveries: readonly Delivery[]) {
  return clusters.map((c) => {
    const mine = deliveries.filter((d) => d.cluster === c.name);
    return create(ClusterSchema, { name: c.name, server: c.server, version: c.version, project: c.project, labels: { region: c.region }, annotations: { "example.org/owner": "platform" }, secret: c.name === "in-cluster" ? "" : `argocd/cluster-${c.name}`, reachable: c.name !== "edge-fleet", since: timestampFromMs(Date.UTC(2026, 0, 1)), watchedKinds: 24, watchedBy: "plumb-0", objects: mine.reduce((sum, d) => sum + d.objects, 0), deliveries: mine.length, unhealthy: mine.filter((d) => d.health?.state === "Degraded" || d.health?.state === "Missing").length, health: c.name === "edge-fleet" ? { state: "Degraded", reason: "Unreachable", message: "dial tcp 198.51.100.7:443: i/o timeout" } : { state: "Healthy" } });
  });
}

export function projectsOf(deliveries: readonly Delivery[]) {
  return ["default", ...teams].map((name) => {
    const mine = deliveries.filter((d) => d.project === name);
    return create(ProjectSchema, { ref: refOf({ group: "argoproj.io", version: "v1alpha1", kind: "AppProject", namespace: "argocd", name }), description: name === "default" ? "" : `Everything of team ${name}`, sources: name === "default" ? ["*"] : [`https://git.example.org/${name}/*`], destinations: name === "default" ? ["*/*"] : [`https://eu-1.prod.example.org/${name}-*`, `https://staging.example.org/${name}-*`], roles: name === "default" ? [] : ["deployer", "reader"], windows: name === "payments" ? ["deny: Fri 16:00 for 64h, applications *-prod"] : [], deliveries: mine.length, findings: name === "risk" ? [{ reason: "RoleUnused", severity: "warning", message: "role reader has no policy", field: "spec.roles[1]", advice: "Remove it, or give it a policy." }] : [], manifest: `apiVersion: argoproj.io/v1alpha1\nkind: AppProject\nmetadata:\n  name: ${name}\n  namespace: argocd\nspec:\n  sourceRepos:\n    - "*"\n` });
  });
}

export function generateActivities(deliveries: readonly Delivery[], now: number): Activity[] {
  const random = new Random("activity");
  let time = now;
  return Array.from({ length: 600 }, (_, index) => {
    time -= random.upTo(400_000);
    const d = random.pick(deliveries);
    const person = random.chance(0.3);
    const failed = random.chance(0.08);
    const action = person ? random.pick(["sync", "refresh", "suspend", "resume", "rollback", "approve", "login"]) : "run";
    return create(ActivitySchema, { id: String(600 - index), time: timestampFromMs(time), actor: person ? random.pick(people).replace(/.*<(.*)>/, "$1") : "", action, object: action === "login" ? undefined : d.ref, revision: action === "login" ? "" : d.revision, result: failed ? "Failed" : "Succeeded", failed, message: failed ? "a health check failed after 5m" : action === "login" ? "signed in by OIDC" : `applied ${1 + random.upTo(5)} objects`, changes: action === "login" ? 0 : random.upTo(6), address: person ? "192.0.2.17" : "" });
  });
}

export const activityFields: Fields<Activity> = {
  facets: { kind: (a) => a.object?.kind ?? "", namespace: (a) => a.object?.namespace ?? "", actor: (a) => a.actor, result: (a) => a.result, delivery: (a) => a.object?.name ?? "", action: (a) => a.action, failed: (a) => String(a.failed) },
  order: {},
  text: (a) => [a.actor, a.action, a.object?.name, a.object?.namespace, a.message].join(" ").toLowerCase(),
  labels: () => ({}),
  worst: () => 0,
};

export const settings = create(GetSettingsResponseSchema, {
  version: "0.5.0-mock",
  findings: [{ reason: "FieldIgnored", severity: "warning", message: "argocd-cm: ui.bannercontent is not acted on", field: "data[ui.bannercontent]", advice: "Remove it, or keep it for Argo CD." }],
  groups: [
    { title: "Engine", settings: [{ name: "concurrency", value: "24", from: "--concurrency", help: "Deliveries that are worked on at the same time." }, { name: "default namespace", value: "flux-system", from: "--namespace", help: "Where Plumb itself lives." }] },
    { title: "Sign-in", settings: [{ name: "oidc issuer", value: "https://dex.example.org", from: "ConfigMap argocd/argocd-cm oidc.config", help: "Who vouches for people." }, { name: "client secret", value: "***", from: "Secret argocd/argocd-secret oidc.clientSecret", help: "" }, { name: "default policy", value: "role:readonly", from: "ConfigMap argocd/argocd-rbac-cm policy.default", help: "What people may do of whom no rule speaks." }] },
    { title: "Deletion firewall", settings: [{ name: "share", value: "50%", from: "default", help: "Deletions of more than this share of a delivery wait for a person." }] },
  ],
});
