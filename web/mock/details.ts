// All that is told of one delivery, and of its objects.
import { create } from "@bufbuild/protobuf";
import { timestampDate, timestampFromMs } from "@bufbuild/protobuf/wkt";
import { keyOf, refOf } from "../src/api/refs";
import { PermissionSchema, type ObjectRef } from "../src/gen/plumb/v1/common_pb";
import { GetDeliveryResponseSchema, GetDiffResponseSchema, GetObjectResponseSchema, NodeSchema, ResourceSchema, type Delivery, type Node, type Resource } from "../src/gen/plumb/v1/deliveries_pb";
import { manifestOf, parametersOf } from "./declared";
import { eventsOf, nodesOf, resourcesOf } from "./objects";
import { partsOf, workloadOf, yamlOf } from "./parts";
import { historyOf } from "./past";
import { Random } from "./random";
import { faultOf } from "./story";
import type { World } from "./world";

const actionNames = ["sync", "refresh", "suspend", "resume", "approve", "rollback", "terminate", "delete", "lift", "objectAction", "logs"];

// permissions says which actions make sense now and are allowed to this person.
export function permissions(d: Delivery, readOnly: boolean) {
  const { kind, namespace, name } = d.ref!;
  const set = kind === "ApplicationSet";
  const revert = "only an Application can be taken back by a click: revert the commit, or for a HelmRelease use its remediation";
  const no: Record<string, string> = {
    ...(d.suspended ? { suspend: "it is suspended already", sync: "it is suspended: resume it first" } : { resume: "it is not suspended" }),
    ...(set && { sync: "an ApplicationSet makes Applications by itself: refresh it", suspend: "an ApplicationSet has no suspension", resume: "an ApplicationSet has no suspension" }),
    ...(!d.hold && { approve: "nothing waits for an approval" }),
    ...(!d.running && { terminate: "no operation is under way" }),
    ...(quarantineOf(d) === "" && { lift: "no revision is in quarantine" }),
    ...(kind !== "Application" && { rollback: revert, lift: revert, terminate: revert }),
  };
  const denied = (verb: string) => `no rule lets viewer ${verb} ${kind.toLowerCase()}s ${d.project ? `${d.project}/` : ""}${namespace}/${name}`;
  return Object.fromEntries(actionNames.map((action) => [action, create(PermissionSchema, readOnly && action !== "logs" ? { allowed: false, reason: denied(action) } : { allowed: !no[action], reason: no[action] ?? "" })]));
}

// quarantineOf is the revision that somebody rolled an Application back from.
export function quarantineOf(d: Delivery): string {
  return d.ref!.kind === "Application" && d.health?.state === "Healthy" && d.sync === "Synced" && !d.suspended && new Random(`quarantine${keyOf(d.ref)}`).chance(0.04) ? d.revision : "";
}

// graphFor is what WatchGraph tells of a delivery.
export function graphFor(world: World, d: Delivery): Node[] {
  const children = childrenOf(world, d).map((child) => create(NodeSchema, { id: keyOf(child.ref), object: child.ref, parents: [keyOf(d.ref)], delivered: true, delivery: true, created: child.created, health: child.health, sync: "Synced" }));
  return [...nodesOf(d), ...children];
}

// childrenOf are the Applications that an ApplicationSet made.
function childrenOf(world: World, d: Delivery): Delivery[] {
  return d.ref!.kind === "ApplicationSet" ? world.deliveries.filter((o) => keyOf(o.madeBy) === keyOf(d.ref)) : [];
}

export function detailOf(world: World, d: Delivery, readOnly: boolean) {
  const related = (other: Delivery) => ({ ref: other.ref, health: other.health, sync: other.sync, blocks: other.health?.state !== "Healthy" && d.reason === "DependencyNotReady" });
  const children = childrenOf(world, d);
  const resources = [...resourcesOf(d), ...children.map((child) => create(ResourceSchema, { object: child.ref, sync: "Synced", health: child.health }))];
  const flux = d.dialect === "flux";
  return create(GetDeliveryResponseSchema, {
    delivery: d,
    fault: faultOf(d),
    findings: new Random(`findings${keyOf(d.ref)}`).chance(0.15) && !children.length ? [findingOf(d)] : [],
    conditions: conditionsOf(d),
    sources: d.source ? [{ source: d.source, revision: d.revision, commit: d.commit, health: { state: d.reason === "ArtifactFailed" ? "Degraded" : "Healthy" }, fault: d.reason === "ArtifactFailed" ? faultOf(d) : undefined }] : [],
    dependsOn: d.dependsOn.flatMap((ref) => world.delivery(ref) ?? []).map(related),
    dependants: world.deliveries.filter((o) => o.dependsOn.some((r) => keyOf(r) === keyOf(d.ref))).map(related),
    children: children.map(related),
    resources,
    parameters: parametersOf(d),
    manifest: manifestOf(d),
    operation: operationOf(d, resources),
    actions: permissions(d, readOnly),
    quarantined: quarantineOf(d),
    images: [...new Set(partsOf(d).flatMap((p) => p.image || []))],
    urls: partsOf(d).flatMap((p) => (p.host ? [`https://${p.host}`] : [])),
    lastRun: d.changed,
    identity: flux ? "reconciler" : "",
    namespaceOfIdentity: flux ? d.ref!.namespace : "",
    windows: windowsOf(d),
    orphans: orphansOf(d),
  });
}

function findingOf(d: Delivery) {
  if (d.ref!.kind === "Kustomization") return { reason: "FieldIgnored", severity: "warning", message: "spec.decryption names a provider, and no file of the path is encrypted", field: "spec.decryption", advice: "take it out, or encrypt what is secret" };
  if (d.ref!.kind === "HelmRelease") return { reason: "Differs", severity: "warning", message: "the version is a range: what is delivered changes without a commit", field: "spec.chart.spec.version", advice: "name one version" };
  return { reason: "Differs", severity: "warning", message: "sync option ApplyOutOfSyncOnly has no effect: what is in sync is never applied", field: "spec.syncPolicy.syncOptions", advice: "take it out" };
}

function conditionsOf(d: Delivery) {
  const since = d.changed;
  const { kind } = d.ref!;
  const status = d.health?.state === "Healthy" ? "True" : d.running ? "Unknown" : "False";
  const applied = `Applied revision: ${d.revision}`;
  const upgraded = `Helm upgrade succeeded for release ${d.targetNamespace}/${workloadOf(d)}.v4 with chart ${d.source?.chart}@${d.revision}`;
  if (kind === "Kustomization") return [{ type: "Ready", status, reason: d.reason || "ReconciliationSucceeded", message: d.message || applied, since }];
  if (kind === "HelmRelease") return [{ type: "Ready", status, reason: d.reason || "UpgradeSucceeded", message: d.message || upgraded, since }];
  if (kind === "ApplicationSet") {
    const told = { reason: d.reason || "ApplicationSetUpToDate", message: d.message || "All applications have been generated successfully", since };
    return [{ ...told, type: "ErrorOccurred", status: d.reason ? "True" : "False" }, { ...told, type: "ResourcesUpToDate", status: d.reason ? "False" : "True" }];
  }
  return d.reason.endsWith("Error") ? [{ type: d.reason, status: "True", reason: d.reason, message: d.message, since }] : [];
}

function operationOf(d: Delivery, resources: readonly Resource[]) {
  if (d.ref!.kind !== "Application" || d.health?.state === "Missing" || d.reason === "ComparisonError") return undefined;
  const failed = d.phase === "apply" && !d.running;
  const started = timestampFromMs(timestampDate(d.changed!).getTime() - 4_000 - new Random(`took${keyOf(d.ref)}`).upTo(50_000));
  const results = resources.slice(0, 6).map(({ object }) => {
    const bad = failed && object!.kind === "Deployment";
    const name = `${object!.kind.toLowerCase()}${object!.group && `.${object!.group}`}/${object!.name}`;
    return { object, phase: "Sync", status: bad ? "SyncFailed" : "Synced", message: bad ? "spec.selector: Invalid value: field is immutable" : `${name} ${object!.kind === "Deployment" ? "configured" : "unchanged"}` };
  });
  return { phase: d.running ? "Running" : failed ? "Failed" : "Succeeded", message: d.running ? d.message : failed ? "one or more objects failed to apply" : "successfully synced (all tasks run)", by: historyOf(d, false).entries[0]?.actor ?? "", started, finished: d.running ? undefined : d.changed, revision: d.revision, results };
}

// Projects other than default let prod be synced by day.
const isKept = (d: Delivery) => d.ref!.kind === "Application" && d.project !== "default";

function windowsOf(d: Delivery) {
  if (!isKept(d) || d.labels.env !== "prod") return undefined;
  return { automatic: true, manual: true, why: "the allow window \"0 6 * * *\" (18h0m0s) is active", next: timestampFromMs(Date.now() + 3 * 3_600_000), windows: [{ schedule: "0 6 * * *", duration: "18h0m0s", timeZone: "Europe/Berlin", description: "not at night" }, { deny: true, schedule: "0 0 24 12 *", duration: "72h0m0s", timeZone: "Europe/Berlin", manual: true, description: "Christmas" }] };
}

function orphansOf(d: Delivery): ObjectRef[] {
  if (!isKept(d) || !new Random(`orphans${keyOf(d.ref)}`).chance(0.3)) return [];
  return [refOf({ version: "v1", kind: "ConfigMap", namespace: d.targetNamespace, name: "debug-flags" }), refOf({ group: "batch", version: "v1", kind: "Job", namespace: d.targetNamespace, name: "import-orders" })];
}

export function diffOf(d: Delivery, object: ObjectRef | undefined, all: boolean) {
  const resources = resourcesOf(d).filter((r) => (object ? keyOf(r.object) === keyOf(object) : all || r.sync === "OutOfSync"));
  return create(GetDiffResponseSchema, {
    revision: d.revision,
    objects: resources.map((r) => {
      const part = partOf(d, r.object)!;
      const missing = r.health?.state === "Missing";
      const changed = r.sync === "OutOfSync" && !r.prune;
      const desired = r.prune ? "" : yamlOf(part, d);
      const [verb, why] = r.prune ? ["delete", "it is no longer wanted"] : missing ? ["create", r.drift] : changed ? ["apply", r.drift] : ["", ""];
      return { object: r.object, change: { object: r.object, verb, why }, desired, live: missing ? "" : yamlOf(part, d, changed), predicted: desired, file: r.file, line: r.line };
    }),
  });
}

function partOf(d: Delivery, object: ObjectRef | undefined) {
  return partsOf(d).find((p) => keyOf(p.object) === keyOf(object));
}

// podsOf are the Pods whose logs an object has.
function podsOf(d: Delivery, object: ObjectRef) {
  const nodes = nodesOf(d);
  const below = (id: string): Node[] => nodes.filter((n) => n.parents.includes(id)).flatMap((n) => (n.object!.kind === "Pod" ? [n] : below(n.id)));
  const pods = object.kind === "Pod" ? nodes.filter((n) => n.id === keyOf(object)) : below(keyOf(object));
  return pods.map((pod) => {
    const waits = pod.status !== "Running";
    return {
      object: pod.object,
      status: pod.status,
      created: pod.created,
      node: pod.info.at(-1),
      containers: [
        { name: "migrate", kind: "init", image: pod.images[0], state: "Terminated", reason: "Completed" },
        { name: "app", kind: "container", image: pod.images[0], default: true, state: waits ? "Waiting" : "Running", reason: waits ? pod.status : "", restarts: pod.restarts, previous: pod.restarts > 0, ready: !waits },
        { name: "proxy", kind: "sidecar", image: "registry.example.org/mesh/proxy:1.24.2", state: "Running", ready: true },
      ],
    };
  });
}

// eventsOfAll are those of the delivery and its objects, the newest first.
function eventsOfAll(d: Delivery) {
  return nodesOf(d).flatMap((n) => eventsOf(n.object!, d, n.health?.state === "Degraded")).sort((a, b) => Number(b.last!.seconds - a.last!.seconds));
}

export function objectOf(d: Delivery, object: ObjectRef | undefined) {
  if (!object) return create(GetObjectResponseSchema, { live: manifestOf(d), events: eventsOfAll(d) });
  const node = nodesOf(d).find((n) => keyOf(n.object) === keyOf(object));
  const part = partOf(d, object);
  const live = node?.health?.state === "Missing" ? "" : part ? yamlOf(part, d, node?.sync === "OutOfSync" && !node.prune) + statusOf(object.kind, part.replicas, node) : madeYaml(object, d, node);
  return create(GetObjectResponseSchema, {
    live,
    desired: part && !node?.prune ? yamlOf(part, d) : "",
    events: eventsOf(object, d, node?.health?.state === "Degraded"),
    resource: resourcesOf(d).find((r) => keyOf(r.object) === keyOf(object)),
    containers: node?.logs ? ["app", "proxy"] : [],
    pods: node?.logs ? podsOf(d, object) : [],
    actions: object.kind === "Deployment" || object.kind === "StatefulSet" ? ["restart"] : [],
  });
}

function statusOf(kind: string, replicas: number, node: Node | undefined): string {
  if (kind !== "Deployment" && kind !== "StatefulSet") return "";
  return `status:\n  observedGeneration: 4\n  readyReplicas: ${node?.health?.state === "Healthy" ? replicas : replicas - 1}\n  replicas: ${replicas}\n`;
}

// madeYaml is what the cluster made of what was delivered.
function madeYaml(object: ObjectRef, d: Delivery, node: Node | undefined): string {
  const head = `apiVersion: ${object.group ? `${object.group}/` : ""}${object.version || "v1"}\nkind: ${object.kind}\nmetadata:\n  name: ${object.name}\n  namespace: ${object.namespace}\n  labels:\n    app.kubernetes.io/part-of: ${workloadOf(d)}\n`;
  if (object.kind === "Pod") return `${head}spec:\n  nodeName: ${node?.info.at(-1)}\n  containers:\n  - name: app\n    image: ${node?.images[0]}\nstatus:\n  phase: Running\n`;
  if (object.kind === "EndpointSlice") return `${head}addressType: IPv4\nports:\n- name: http\n  port: 8080\n  protocol: TCP\n`;
  return `${head}spec:\n  replicas: ${nodesOf(d).filter((n) => n.parents.includes(keyOf(object))).length}\n`;
}
