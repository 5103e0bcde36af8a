// What ActRequest does to the generated world.
import { Code, ConnectError } from "@connectrpc/connect";
import { create } from "@bufbuild/protobuf";
import { ActResponseSchema, type ActRequest, type Delivery } from "../src/gen/plumb/v1/deliveries_pb";
import { compareLines } from "../src/parts/diff/compare";
import { progress, settle, suspend } from "./deliveries";
import { diffOf, permissions } from "./details";
import { Random } from "./random";
import type { World } from "./world";

type Case = NonNullable<ActRequest["action"]["case"]>;

const said: Record<Case, [will: string, did: string]> = {
  sync: ["it would be reconciled now", "reconciling now"],
  refresh: ["the source would be looked at now, and compared", "looking at the source"],
  suspend: ["nothing would be delivered until it is resumed", "suspended"],
  resume: ["it would be delivered again, beginning now", "resumed"],
  approve: ["the deletions would be carried out", "deletions approved"],
  rollback: ["the former revision would be applied, and the present one put into quarantine", "rolling back"],
  terminate: ["the operation under way would be ended", "operation ended"],
  delete: ["the declared object would be deleted, with everything it delivered", "deleted"],
  lift: ["the revision would be delivered by itself again", "quarantine lifted"],
  objectAction: ["its Pods would be replaced one by one", "restarting"],
};

export function act(world: World, d: Delivery, request: ActRequest, actor: string, readOnly: boolean) {
  const kind = request.action.case;
  if (!kind) throw new ConnectError("no action was asked for", Code.InvalidArgument);
  const permission = permissions(d, readOnly)[kind];
  if (permission && !permission.allowed) throw new ConnectError(permission.reason, readOnly ? Code.PermissionDenied : Code.FailedPrecondition);
  const [will, did] = said[kind];
  const changes = request.preview ? changesOf(d, kind) : [];
  const count = changes.length === 0 ? "nothing would change" : `${changes.length} ${changes.length === 1 ? "object" : "objects"} would change`;
  const answer = create(ActResponseSchema, { message: request.preview ? (kind === "sync" ? count : will) : did, changes, warnings: request.preview && kind === "delete" && d.labels.env === "prod" ? ["it is labelled env=prod"] : [] });
  if (request.preview) return answer;
  world.record(actor, kind, d, did);
  effect(world, d, kind);
  return answer;
}

function changesOf(d: Delivery, kind: Case) {
  if (kind === "approve") return (d.hold?.deletes ?? []).map((object) => ({ object, verb: "delete", why: "it is no longer wanted" }));
  if (kind !== "sync") return [];
  return diffOf(d, undefined, false).objects.map((o) => ({ object: o.object, verb: o.change!.verb, why: o.change!.why, diff: unified(o.live, o.desired) }));
}

// unified is the one place in which two texts differ, with three lines around it.
function unified(before: string, after: string): string {
  const lines = compareLines(before, after);
  const first = lines.findIndex((line) => line.kind !== "same");
  if (first < 0) return "";
  const shown = lines.slice(Math.max(0, first - 3), lines.findLastIndex((line) => line.kind !== "same") + 4);
  const count = (without: "add" | "del") => shown.filter((line) => line.kind !== without).length;
  const signs = { same: " ", add: "+", del: "-", skip: " " };
  return `@@ -${shown[0]!.before ?? 1},${count("add")} +${shown[0]!.after ?? 1},${count("del")} @@\n${shown.map((line) => `${signs[line.kind]}${line.text}\n`).join("")}`;
}

function effect(world: World, d: Delivery, kind: Case) {
  const random = new Random(String(world.revision));
  const work = () => {
    world.change(d, (d) => progress(d, random));
    setTimeout(() => world.change(d, settle), 3_000).unref?.();
  };
  if (kind === "suspend") world.change(d, suspend);
  else if (kind === "resume") world.change(d, (d) => { Object.assign(d, { suspended: false, automation: "automatic" }); settle(d); });
  else if (kind === "approve") world.change(d, (d) => { d.objects -= d.hold?.deletes.length ?? 0; d.hold = undefined; settle(d); });
  else if (kind === "delete") world.remove(d);
  else if (kind === "refresh") world.change(d, () => {});
  else work();
}
