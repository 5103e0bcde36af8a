// All that is told of one delivery.
import { create } from "@bufbuild/protobuf";
import { timestampDate, timestampFromMs } from "@bufbuild/protobuf/wkt";
import { keyOf, refOf } from "../src/api/refs";
import { ChangeSchema, CommitSchema, FaultSchema, PermissionSchema, type Fault, type ObjectRef } from "../src/gen/plumb/v1/common_pb";
import { ExplainResponseSchema, GetDeliveryResponseSchema, GetDiffResponseSchema, GetHistoryResponseSchema, GetObjectResponseSchema, type Delivery } from "../src/gen/plumb/v1/deliveries_pb";
import { people, subjects } from "./names";
import { eventsOf, nodesOf, resourcesOf, yamlOf } from "./objects";
import { Random } from "./random";
import type { World } from "./world";

const actionNames = ["sync", "refresh", "suspend", "resume", "approve", "rollback", "terminate", "delete", "lift", "objectAction", "logs"];

// permissions says which actions make sense now and are allowed to this person.
export function permissions(d: Delivery, readOnly: boolean) {
  const no: Record<string, string> = {
    ...(d.suspended ? { suspend: "It is suspended already." } : { resume: "It is not suspended." }),
    ...(!d.hold && { approve: "No deletion waits for an approval." }),
    ...(!d.running && { terminate: "No operation is under way." }),
    ...(quarantineOf(d) === "" && { lift: "No revision is in quarantine." }),
  };
  return Object.fromEntries(
    actionNames.map((name) => [name, create(PermissionSchema, readOnly && name !== "logs" ? { allowed: false, reason: `viewer may not ${name} ${d.ref!.kind} ${d.ref!.namespace}/${d.ref!.name}: no rule of policy.csv allows it.` } : { allowed: !no[name], reason: no[name] ?? "" })]),
  );
}

function quarantineOf(d: Delivery): string {
  return new Random(`quarantine${keyOf(d.ref)}`).chance(0.04) ? d.revision : "";
}

export function faultOf(d: Delivery): Fault | undefined {
  const failed = d.health?.state === "Degraded" || (d.health?.state === "Unknown" && d.reason !== "") || !!d.hold;
  if (!failed) return undefined;
  const advice: Record<string, string> = {
    HealthCheckFailed: "Look at the logs of the pod that is not ready; roll back if the new image is at fault.",
    BuildFailed: "Add the file, or remove it from resources in kustomization.yaml.",
    ReconciliationFailed: "Pin the image by its digest, as the policy asks.",
    ArtifactFailed: "Renew the credential in Secret flux-system/logistics-git.",
    InstallFailed: "Choose another nodePort, or leave it out.",
    DependencyNotReady: "Mend flux-system/platform-crds first.",
    ImagePullBackOff: "Push the image, or name a tag that exists.",
    DeletionHeld: "Look at what would be deleted, and approve it if it is meant.",
  };
  return create(FaultSchema, { reason: d.reason, message: d.message, advice: advice[d.reason] ?? "", severity: "error", waiting: d.reason === "DependencyNotReady", file: d.reason === "BuildFailed" ? `${d.source?.path}/kustomization.yaml` : "", line: d.reason === "BuildFailed" ? 7 : 0, object: d.phase === "settle" ? refOf({ group: "apps", version: "v1", kind: "Deployment", namespace: d.targetNamespace, name: d.ref!.name }) : undefined });
}

export function detailOf(world: World, d: Delivery, readOnly: boolean) {
  const since = d.changed;
  const ready = d.health?.state === "Healthy" ? "True" : d.health?.state === "Progressing" ? "Unknown" : "False";
  const related = (other: Delivery) => ({ ref: other.ref, health: other.health, sync: other.sync, blocks: other.health?.state !== "Healthy" && d.reason === "DependencyNotReady" });
  const dependsOn = d.dependsOn.flatMap((ref) => world.delivery(ref) ?? []);
  const dependants = world.deliveries.filter((o) => o.dependsOn.some((r) => keyOf(r) === keyOf(d.ref)));
  const children = d.ref!.kind === "ApplicationSet" ? world.deliveries.filter((o) => keyOf(o.madeBy) === keyOf(d.ref)) : [];
  return create(GetDeliveryResponseSchema, {
    delivery: d,
    fault: faultOf(d),
    findings: new Random(keyOf(d.ref)).chance(0.2) ? [{ reason: "FieldIgnored", severity: "warning", message: "spec.timeout is shorter than the probe of a Deployment takes to succeed", field: "spec.timeout", advice: "Set it to at least 3m." }] : [],
    conditions: [{ type: d.dialect === "flux" ? "Ready" : "Synced", status: ready, reason: d.reason, message: d.message, since }, { type: "Healthy", status: ready, reason: d.health?.reason || "Succeeded", message: d.health?.message || "all objects are healthy", since }],
    sources: d.source ? [{ source: d.source, revision: d.revision, commit: d.commit, health: { state: d.reason === "ArtifactFailed" ? "Degraded" : "Healthy" }, fault: d.reason === "ArtifactFailed" ? faultOf(d) : undefined }] : [],
    dependsOn: dependsOn.map(related),
    dependants: dependants.map(related),
    children: children.map(related),
    resources: resourcesOf(d),
    parameters: d.ref!.kind === "HelmRelease" ? [{ name: "helm.values", value: "image:\n  tag: 2.14.3\nreplicas: 3\nauth:\n  password: \"***\"\n" }] : [{ name: "postBuild.substitute", value: `cluster: ${d.cluster}\nregion: eu-west\n` }],
    manifest: manifestOf(d),
    operation: d.dialect === "argo" ? { phase: d.running ? "Running" : "Succeeded", message: d.message, by: people[0], started: since, finished: d.running ? undefined : since, revision: d.revision, results: resourcesOf(d).slice(0, 6).map((r) => ({ object: r.object, phase: "Sync", status: "Synced", message: "configured" })) } : undefined,
    actions: permissions(d, readOnly),
    quarantined: quarantineOf(d),
    images: [...new Set(nodesOf(d).flatMap((n) => n.images))],
    urls: d.labels.env === "prod" ? [`https://${d.ref!.name}.example.org`] : [],
    lastRun: since,
    identity: d.dialect === "flux" ? "reconciler" : "",
    windows: d.project && d.labels.env === "prod" ? { automatic: true, manual: true, why: "the allow window “0 8 * * 1-5” is active", next: timestampFromMs(Date.now() + 3 * 3_600_000), windows: [{ schedule: "0 8 * * 1-5", duration: "9h0m0s", timeZone: "Europe/Berlin", description: "office hours" }, { deny: true, schedule: "0 0 24 12 *", duration: "72h0m0s", manual: true }] } : undefined,
    orphans: d.project && new Random(`orphans${keyOf(d.ref)}`).chance(0.3) ? [refOf({ kind: "ConfigMap", namespace: d.targetNamespace, name: "left-behind" }), refOf({ group: "batch", kind: "Job", namespace: d.targetNamespace, name: "import-once" })] : [],
    namespaceOfIdentity: d.dialect === "flux" ? d.ref!.namespace : "",
  });
}

function manifestOf(d: Delivery): string {
  const labels = Object.entries(d.labels).map(([k, v]) => `    ${k}: ${v}\n`).join("");
  return `apiVersion: ${d.ref!.group}/${d.ref!.version}\nkind: ${d.ref!.kind}\nmetadata:\n  name: ${d.ref!.name}\n  namespace: ${d.ref!.namespace}\n  labels:\n${labels}spec:\n  interval: 10m\n  path: ${d.source?.path || "./"}\n  prune: true\n  sourceRef:\n    kind: ${d.source?.ref?.kind ?? "GitRepository"}\n    name: ${d.source?.ref?.name ?? "deploy"}\n  postBuild:\n    substitute:\n      cluster: ${d.cluster}\n      token: "***"\n`;
}

export function diffOf(d: Delivery, object: ObjectRef | undefined, all: boolean) {
  const resources = resourcesOf(d).filter((r) => (object ? keyOf(r.object) === keyOf(object) : all || r.sync === "OutOfSync" || r.prune));
  return create(GetDiffResponseSchema, {
    revision: d.revision,
    objects: resources.map((r) => {
      const desired = yamlOf(r.object!, d);
      const live = r.sync === "OutOfSync" ? yamlOf(r.object!, d, true) : desired;
      return { object: r.object, change: { object: r.object, verb: r.prune ? "delete" : r.sync === "OutOfSync" ? "apply" : "", why: r.drift }, desired: r.prune ? "" : desired, live, predicted: r.prune ? "" : desired, file: r.file, line: r.line };
    }),
  });
}

export function explain(world: World, d: Delivery, object: ObjectRef | undefined) {
  const fault = faultOf(d);
  const state = d.hold ? "held" : d.suspended ? "suspended" : d.running ? "working" : d.reason === "DependencyNotReady" ? "waiting" : fault ? "wrong" : "ok";
  const pod = nodesOf(d).find((n) => n.object!.kind === "Pod" && n.health?.state === "Degraded");
  return create(ExplainResponseSchema, {
    headline: state === "ok" ? `${(object ?? d.ref!).name} runs as commit ${d.commit?.hash.slice(0, 8)} asks.` : state === "held" ? "A deletion waits for a person." : state === "suspended" ? "It was suspended by a person." : state === "working" ? "Work goes on." : d.message,
    state,
    because: fault
      ? [
          { text: `${d.ref!.kind} ${d.ref!.name} is not ready: ${d.reason}`, object: d.ref, health: d.health },
          ...(d.phase === "settle" ? [{ text: `Deployment ${d.ref!.name} has 2 of 3 pods ready`, object: refOf({ group: "apps", version: "v1", kind: "Deployment", namespace: d.targetNamespace, name: d.ref!.name }), health: d.health }] : []),
          ...(pod ? [{ text: `Pod ${pod.object!.name} exits with 1 right after it starts: “DATABASE_URL is not set”`, object: pod.object, health: pod.health }] : []),
          ...(d.reason === "DependencyNotReady" ? d.dependsOn.map((ref) => ({ text: "platform-crds cannot be rendered", object: ref, health: world.delivery(ref)?.health })) : []),
          { text: `It came with commit ${d.commit?.hash.slice(0, 8)}, “${d.commit?.subject}”, by ${d.commit?.author.split(" <")[0]}`, file: `${d.source?.path}/deployment.yaml`, line: 31 },
        ]
      : [],
    advice: fault?.advice ? [fault.advice, ...(d.phase === "settle" ? ["Or roll back to the revision before."] : [])] : [],
    object: object ?? d.ref,
    owner: d.ref,
    url: d.source?.url,
    revision: d.revision,
    commit: d.commit,
    file: `${d.source?.path}/deployment.yaml`,
    line: 31,
    writers: object ? ["plumb: everything in the source", "horizontal-pod-autoscaler: spec.replicas"] : [],
  });
}

export function historyOf(d: Delivery, readOnly: boolean) {
  const random = new Random(`history${keyOf(d.ref)}`);
  let at = timestampDate(d.changed!).getTime();
  return create(GetHistoryResponseSchema, {
    entries: Array.from({ length: 4 + random.upTo(16) }, (_, i) => {
      const hash = i === 0 ? (d.commit?.hash ?? random.hex(40)) : random.hex(40);
      const failed = i === 0 ? !!faultOf(d) : random.chance(0.12);
      const object = refOf({ group: "apps", version: "v1", kind: "Deployment", namespace: d.targetNamespace, name: d.ref!.name });
      return {
        id: `h${i}`,
        time: timestampFromMs((at -= i === 0 ? 0 : 3_600_000 * (3 + random.upTo(40)))),
        revision: d.dialect === "flux" ? `main@sha1:${hash}` : hash,
        commit: create(CommitSchema, { hash, subject: random.pick(subjects), author: random.pick(people) }),
        result: failed ? "ReconciliationFailed" : "ReconciliationSucceeded",
        failed,
        message: failed ? d.message || "a health check failed" : `applied ${1 + random.upTo(6)} objects`,
        actor: random.chance(0.25) ? random.pick(people) : "",
        changes: [create(ChangeSchema, { object, verb: "apply", why: "the image changed", diff: "@@ -21,3 +21,3 @@\n       containers:\n         - name: app\n-          image: registry.example.org/app:2.14.2\n+          image: registry.example.org/app:2.14.3\n" })],
        omitted: random.chance(0.1) ? 12 : 0,
        canRollback: { allowed: i > 0 && !failed && !readOnly, reason: i === 0 ? "It is what runs now." : failed ? "It failed." : readOnly ? "viewer may not roll back." : "" },
      };
    }),
  });
}

// podsOf are the Pods whose logs an object has.
function podsOf(d: Delivery, object: ObjectRef) {
  const pods = nodesOf(d).filter((n) => n.object!.kind === "Pod" && (object.kind !== "Pod" || n.object!.name === object.name));
  return pods.map((pod) => {
    const broken = pod.health?.state === "Degraded";
    const container = (name: string, kind: string, more: object = {}) => ({ name, kind, image: `registry.example.org/${name}:2.14.3`, state: kind === "init" ? "Terminated" : "Running", reason: kind === "init" ? "Completed" : "", ready: true, ...more });
    return { object: pod.object, status: broken ? "CrashLoopBackOff" : "Running", created: pod.created, node: "node-1", containers: [container("migrate", "init"), container("app", "container", { default: true, ...(broken && { reason: "CrashLoopBackOff", restarts: 9, previous: true, ready: false }) }), container("proxy", "sidecar")] };
  });
}

// eventsOfAll are those of the delivery and its objects, the newest first.
function eventsOfAll(d: Delivery) {
  const told = nodesOf(d).filter((n) => n.health?.state === "Degraded" || n.object!.kind === "Deployment" || n.delivery).slice(0, 12);
  return told.flatMap((n) => eventsOf(n.object!, d, n.health?.state === "Degraded" && !n.delivery)).sort((a, b) => Number(b.last!.seconds - a.last!.seconds));
}

export function objectOf(d: Delivery, object: ObjectRef | undefined) {
  if (!object) return create(GetObjectResponseSchema, { live: manifestOf(d), events: eventsOfAll(d) });
  const node = nodesOf(d).find((n) => keyOf(n.object) === keyOf(object));
  const resource = resourcesOf(d).find((r) => keyOf(r.object) === keyOf(object));
  const drifted = node?.sync === "OutOfSync";
  return create(GetObjectResponseSchema, {
    live: `${yamlOf(object, d, drifted)}status:\n  observedGeneration: 4\n`,
    desired: node?.delivered ? yamlOf(object, d) : "",
    events: eventsOf(object, d, node?.health?.state === "Degraded"),
    resource,
    containers: node?.logs ? ["app", "proxy"] : [],
    pods: node?.logs ? podsOf(d, object) : [],
    actions: object.kind === "Deployment" || object.kind === "StatefulSet" ? ["restart"] : [],
  });
}
