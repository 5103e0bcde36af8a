// What ActRequest does to the generated world.
import { Code, ConnectError } from "@connectrpc/connect";
import { create } from "@bufbuild/protobuf";
import { ActResponseSchema, type ActRequest, type Delivery } from "../src/gen/plumb/v1/deliveries_pb";
import { progress, settle } from "./deliveries";
import { diffOf, permissions } from "./details";
import { Random } from "./random";
import type { World } from "./world";

type Case = NonNullable<ActRequest["action"]["case"]>;

const said: Record<Case, [will: string, did: string]> = {
  sync: ["It would be reconciled now.", "Reconciling now"],
  refresh: ["The source would be looked at now, and compared.", "Looking at the source"],
  suspend: ["Nothing would be delivered until it is resumed.", "Suspended"],
  resume: ["It would be delivered again, beginning now.", "Resumed"],
  approve: ["The deletions would be carried out.", "Deletion approved"],
  rollback: ["The former revision would be applied, and the present one put into quarantine.", "Rolling back"],
  terminate: ["The operation under way would be ended.", "Operation ended"],
  delete: ["The declared object would be deleted, with everything it delivered.", "Deleted"],
  lift: ["The revision would be delivered by itself again.", "Quarantine lifted"],
  objectAction: ["The pods would be replaced one by one.", "Restarting"],
};

export function act(world: World, d: Delivery, request: ActRequest, actor: string, readOnly: boolean) {
  const kind = request.action.case;
  if (!kind) throw new ConnectError("no action was asked for", Code.InvalidArgument);
  const permission = permissions(d, readOnly)[kind];
  if (permission && !permission.allowed) throw new ConnectError(permission.reason, readOnly ? Code.PermissionDenied : Code.FailedPrecondition);
  const [will, did] = said[kind];
  const changes = request.preview ? changesOf(d, kind) : [];
  const answer = create(ActResponseSchema, { message: request.preview ? (kind === "sync" ? `${changes.length} ${changes.length === 1 ? "object" : "objects"} would change` : will) : `${did}: ${d.ref!.name}`, changes, warnings: request.preview && kind === "delete" && d.labels.env === "prod" ? ["This is labelled env=prod."] : [] });
  if (request.preview) return answer;
  world.record(actor, kind, d, did);
  effect(world, d, kind);
  return answer;
}

function changesOf(d: Delivery, kind: Case) {
  const diff = (o: string, n: string) => `@@ -11,3 +11,3 @@\n spec:\n-  replicas: ${o}\n+  replicas: ${n}\n   selector:\n`;
  if (kind === "approve") return (d.hold?.deletes ?? []).map((object) => ({ object, verb: "delete", why: "the source does not have it any more" }));
  if (kind !== "sync" && kind !== "rollback") return [];
  return diffOf(d, undefined, false).objects.map((o) => ({ object: o.object, verb: o.change?.verb ?? "apply", why: o.change?.why ?? "", diff: diff("5", "3") }));
}

function effect(world: World, d: Delivery, kind: Case) {
  const random = new Random(String(world.revision));
  const work = () => {
    world.change(d, (d) => progress(d, random));
    setTimeout(() => world.change(d, settle), 3_000).unref?.();
  };
  if (kind === "suspend") world.change(d, (d) => Object.assign(d, { suspended: true, automation: "suspended", reason: "Suspended", message: "suspended by hand", health: { ...d.health!, state: "Suspended" } }));
  else if (kind === "resume") world.change(d, (d) => { Object.assign(d, { suspended: false, automation: "automatic" }); settle(d); });
  else if (kind === "approve") world.change(d, (d) => { d.hold = undefined; settle(d); });
  else if (kind === "delete") world.remove(d);
  else if (kind === "refresh") world.change(d, () => {});
  else work();
}
