// Why a delivery of the generated world is as it is.
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { keyOf } from "../src/api/refs";
import { FaultSchema, type Fault, type ObjectRef } from "../src/gen/plumb/v1/common_pb";
import { ExplainResponseSchema, type BecauseSchema, type Delivery } from "../src/gen/plumb/v1/deliveries_pb";
import { failures } from "./names";
import { fileOf, nodesOf } from "./objects";
import type { World } from "./world";

type Because = MessageInitShape<typeof BecauseSchema>;

export function faultOf(d: Delivery): Fault | undefined {
  const failure = failures.find((f) => f.reason === d.reason);
  if (!failure || d.running) return undefined;
  const file = d.phase === "render" ? /[\w./-]+\.yaml/.exec(d.message)?.[0] : undefined;
  return create(FaultSchema, { reason: d.reason, message: d.message, advice: failure.advice, severity: "error", waiting: d.reason === "DependencyNotReady", file, line: file ? (d.reason === "BuildFailed" ? 7 : 12) : 0, object: failure.phase === "settle" ? nodesOf(d).find((n) => n.object!.kind === "Deployment")?.object : undefined });
}

export function explain(world: World, d: Delivery, object: ObjectRef | undefined) {
  const told = object && keyOf(object) !== keyOf(d.ref) ? ofObject(d, object) : ofDelivery(world, d);
  return create(ExplainResponseSchema, { ...told, object: object ?? d.ref, owner: d.ref, url: d.source?.url, revision: d.revision, commit: d.commit });
}

function ofDelivery(world: World, d: Delivery) {
  const name = `${d.ref!.kind} ${d.ref!.name}`;
  const fault = faultOf(d);
  if (d.hold) return { state: "held", headline: `${name} holds back ${d.hold.deletes.length} deletions until somebody approves them`, because: [{ text: d.hold.why }], advice: ["look at what would be deleted, and approve it; or bring the objects back by a commit"] };
  if (d.suspended) return { state: "suspended", headline: `${name} is suspended: nothing is delivered until it is resumed`, advice: ["resume it when it may go on"] };
  if (fault?.waiting) {
    const waits = d.dependsOn.flatMap((ref) => world.delivery(ref) ?? []).map((on): Because => ({ text: `${on.ref!.kind} ${on.ref!.name} is ${on.health?.state}: ${on.message}`, object: on.ref, health: on.health }));
    return { state: "waiting", headline: `${name} waits: ${fault.message}`, because: waits };
  }
  // An operation of Argo CD ends when all is applied.
  const delivered = d.ref!.kind === "Application" && d.phase === "settle";
  const unwell = `${name} is delivered, and ${d.unhealthy} of its ${d.objects} objects ${d.unhealthy === 1 ? "is" : "are"} not healthy`;
  if (fault) return { state: "wrong", headline: delivered ? unwell : `${name} stopped: ${fault.message}`, because: [...reasons(d, fault), ...cameWith(d)], advice: [fault.advice, ...(d.commit ? [`or revert that commit: git revert ${d.commit.hash.slice(0, 8)}`] : [])].filter(Boolean), file: fault.file, line: fault.line };
  if (d.health?.state === "Missing") return { state: "wrong", headline: unwell, advice: ["nothing is changed until somebody syncs: see the diff, then sync"] };
  if (d.running) return { state: "working", headline: `${name} is at work: ${d.message}` };
  if (d.sync === "OutOfSync") {
    const drifted = nodesOf(d).filter((n) => n.delivered && n.sync === "OutOfSync").map((n): Because => ({ text: `${n.object!.kind}/${n.object!.namespace}/${n.object!.name} differs: it was changed`, object: n.object, file: fileOf(d, n.object!), line: 1 }));
    return { state: "wrong", headline: `${name} differs from its source in ${d.outOfSync} ${d.outOfSync === 1 ? "object" : "objects"}`, because: drifted, advice: ["nothing is changed until somebody syncs: see the diff, then sync"] };
  }
  return { state: "ok", headline: `${name} is as its source wants it, and healthy` };
}

// reasons go from what is seen down to the Pod.
function reasons(d: Delivery, fault: Fault): Because[] {
  if (d.phase !== "settle") return fault.file ? [{ text: fault.message, file: fault.file, line: fault.line }] : [];
  const ill = nodesOf(d).filter((n) => n.delivered || n.object!.kind === "Pod").filter((n) => n.health?.state === "Degraded");
  return ill.map((n): Because => {
    const { kind, name } = n.object!;
    if (kind === "Pod") return { text: n.status === "ImagePullBackOff" ? `Pod ${name} cannot pull ${n.images[0]}: manifest unknown` : `Pod ${name} exited with 1: DATABASE_URL is not set`, object: n.object, health: n.health };
    return { text: `${kind} ${name} has 2 of 3 Pods ready`, object: n.object, health: n.health, file: fileOf(d, n.object!), line: 1 };
  });
}

function cameWith(d: Delivery): Because[] {
  return d.commit ? [{ text: `it came with commit ${d.commit.hash.slice(0, 8)} "${d.commit.subject}" by ${d.commit.author.split(" <")[0]}` }] : [];
}

function ofObject(d: Delivery, object: ObjectRef) {
  const node = nodesOf(d).find((n) => keyOf(n.object) === keyOf(object));
  const state = node?.health?.state ?? "Unknown";
  const id = `${object.kind}/${object.namespace}/${object.name}`;
  const wrong = state === "Degraded" || state === "Missing";
  if (!node?.delivered) return { state: wrong ? "wrong" : "ok", headline: `${id} was made by the cluster of what ${d.ref!.name} delivered, and is ${state}`, because: [{ text: node?.health?.message || "nothing is wrong with it", object, health: node?.health }] };
  if (node.prune) return { state: "wrong", headline: `${id} is owned by ${d.ref!.name} and not wanted any more`, advice: ["it is pruned where the delivery prunes, or by a sync with prune"] };
  const file = fileOf(d, object);
  if (node.sync === "OutOfSync") return { state: "wrong", headline: `${id} differs from ${file}:1`, because: [{ text: "it was changed", object }], file, line: 1 };
  return { state: wrong ? "wrong" : "ok", headline: `${id} is as ${file}:1 wants it, and ${state}`, because: wrong ? [{ text: node.health!.message, object, health: node.health }] : [], file, line: 1 };
}
