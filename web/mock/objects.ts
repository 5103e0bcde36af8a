// The objects of a delivery down to Pods, as the graph, the list of resources and
// the panel of an object tell of them.
import { create } from "@bufbuild/protobuf";
import { timestampDate, timestampFromMs, type Timestamp } from "@bufbuild/protobuf/wkt";
import { keyOf, refOf } from "../src/api/refs";
import type { ObjectRef } from "../src/gen/plumb/v1/common_pb";
import { EventSchema, NodeSchema, ResourceSchema, type Delivery, type Event, type Node, type Resource } from "../src/gen/plumb/v1/deliveries_pb";
import { driftedOf, partsOf, workloadOf, type Part } from "./parts";
import { Random } from "./random";

// Letters that Kubernetes makes names of.
const letters = "bcdfghjklmnpqrstvwxz2456789";
const suffix = (random: Random, length: number) => Array.from({ length }, () => letters[random.upTo(letters.length)]).join("");

const machines = ["worker-a1", "worker-a2", "worker-a3", "worker-b1", "worker-b2", "worker-c1", "worker-c2"];

export function nodesOf(d: Delivery): Node[] {
  const random = new Random(keyOf(d.ref));
  const nodes: Node[] = [];
  const rolled = d.commit?.time ?? d.changed!;
  const add = (object: ObjectRef, parent: Node | undefined, more: Partial<Node> = {}) => {
    const node = create(NodeSchema, { id: keyOf(object), object, parents: parent ? [parent.id] : [], created: d.created, health: { state: "Healthy" }, ...(more as object) });
    nodes.push(node);
    return node;
  };
  const root = add(d.ref!, undefined, { delivery: true, health: d.health, sync: d.sync });
  const missing = d.health?.state === "Missing";
  const drifted = driftedOf(d);
  const deleted = new Set(d.hold?.deletes.map(keyOf));
  for (const part of partsOf(d)) {
    const { object } = part;
    const prune = deleted.has(keyOf(object));
    const delivered: Partial<Node> = { delivered: true, prune, sync: missing || prune || (!d.hold && drifted.has(keyOf(object))) ? "OutOfSync" : "Synced" };
    if (missing) add(object, root, { ...delivered, health: d.health, created: undefined });
    else if (part.image) workload(part, delivered);
    else {
      const node = add(object, root, { ...delivered, info: part.host ? [part.host] : [] });
      if (object.kind === "Service") add(refOf({ group: "discovery.k8s.io", version: "v1", kind: "EndpointSlice", namespace: object.namespace, name: `${object.name}-${suffix(random, 5)}` }), node);
    }
  }
  return nodes;

  function workload(part: Part, delivered: Partial<Node>) {
    const { object, replicas } = part;
    if (object.kind === "CronJob") return void add(object, root, { ...delivered, info: ["15 3 * * *"], images: [part.image] });
    // A rollout is under way or stuck: one Pod is new, and the others stay until it is ready.
    const stuck = object.name === workloadOf(d) && (d.unhealthy > 0 || (d.health?.state === "Progressing" && d.phase === "settle"));
    const ill: Partial<Node> = stuck ? { health: d.health } : {};
    const owner = add(object, root, { ...delivered, ...ill, info: [`${stuck ? replicas - 1 : replicas}/${replicas} ready`], images: [part.image], logs: true });
    if (object.kind === "StatefulSet") {
      for (let i = 0; i < replicas; i++) pod(owner, `${object.name}-${i}`, part, false, d.created);
      return;
    }
    const set = (revision: number, more: Partial<Node>) => add(refOf({ group: "apps", version: "v1", kind: "ReplicaSet", namespace: object.namespace, name: `${object.name}-${suffix(random, 10)}` }), owner, { info: [`revision ${revision}`], revision: BigInt(revision), logs: true, ...more });
    const revision = 2 + random.upTo(18);
    const current = set(revision, { created: rolled, ...ill });
    for (let i = 0; i < (stuck ? 1 : replicas); i++) pod(current, `${current.object!.name}-${suffix(random, 5)}`, part, stuck, rolled);
    if (!stuck) return;
    const former = set(revision - 1, {});
    for (let i = 0; i < replicas - 1; i++) pod(former, `${former.object!.name}-${suffix(random, 5)}`, part, false, d.created);
  }

  function pod(owner: Node, name: string, part: Part, ill: boolean, since: Timestamp | undefined) {
    const status = !ill ? "Running" : d.running ? "ContainerCreating" : d.message.includes("ImagePullBackOff") ? "ImagePullBackOff" : "CrashLoopBackOff";
    const restarts = status === "CrashLoopBackOff" ? 6 + random.upTo(9) : 0;
    add(refOf({ version: "v1", kind: "Pod", namespace: owner.object!.namespace, name }), owner, { created: since, status, restarts, info: [status, ...(restarts > 0 ? [`${restarts} restarts`] : []), random.pick(machines)], images: [part.image], logs: true, ...(ill && { health: d.health }) });
  }
}

// fileOf is where an object stands in the source.
export function fileOf(d: Delivery, object: ObjectRef): string {
  const component = object.name.slice(workloadOf(d).length + 1).replace(/-?(config|database)$/, "");
  const folder = d.ref!.kind === "HelmRelease" ? `${d.source!.chart}/templates` : (d.source?.path ?? "").replace(/^\.\//, "");
  return [folder, component, `${object.kind.toLowerCase()}.yaml`].filter(Boolean).join("/");
}

export function resourcesOf(d: Delivery): Resource[] {
  return nodesOf(d).filter((n) => n.delivered).map((n) => {
    const drift = n.sync !== "OutOfSync" || n.prune ? "" : n.health?.state === "Missing" ? "it does not exist" : "it was changed";
    return create(ResourceSchema, { object: n.object, sync: n.sync, health: n.health, prune: n.prune, wave: n.object!.kind === "CronJob" && d.dialect === "argo" ? 1 : 0, file: n.prune ? "" : fileOf(d, n.object!), line: n.prune ? 0 : 1, drift });
  });
}

export function eventsOf(object: ObjectRef, d: Delivery, bad: boolean): Event[] {
  const from = timestampDate(d.changed!).getTime();
  const event = (type: string, reason: string, message: string, count: number, by: string, ago: number) => create(EventSchema, { type, reason, message, count, last: timestampFromMs(from - ago * 60_000), from: by, about: object });
  const scheduled = event("Normal", "Scheduled", `Successfully assigned ${object.namespace}/${object.name}`, 1, "default-scheduler", 24);
  const own = keyOf(object) === keyOf(d.ref);
  if (own && d.message && !d.running) return [event("Warning", d.reason, d.message, 4, "plumb", 0)];
  if (own) return [event("Normal", d.dialect === "flux" ? "ReconciliationSucceeded" : "OperationCompleted", d.dialect === "flux" ? "Reconciliation finished, next run in 10m0s" : "Sync operation succeeded", 1, "plumb", 0)];
  if (!bad) return [];
  if (object.kind === "Deployment") return [event("Warning", "ProgressDeadlineExceeded", "ReplicaSet has timed out progressing.", 1, "deployment-controller", 1), event("Normal", "ScalingReplicaSet", `Scaled up replica set of ${object.name} to 1`, 1, "deployment-controller", 25)];
  if (object.kind === "Pod" && d.message.includes("ImagePullBackOff")) return [event("Warning", "Failed", "Error: ImagePullBackOff", 21, "kubelet", 0), event("Warning", "Failed", "Failed to pull image: manifest unknown", 6, "kubelet", 4), scheduled];
  if (object.kind === "Pod") return [event("Warning", "BackOff", "Back-off restarting failed container app", 37, "kubelet", 0), event("Normal", "Pulled", "Container image already present on machine", 9, "kubelet", 3), scheduled];
  return [];
}
