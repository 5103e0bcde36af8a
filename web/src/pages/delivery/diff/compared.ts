// Which two of the three texts of an object are compared, and what is said of it.
import type { GetDiffResponse, ObjectDiff } from "~/gen/plumb/v1/deliveries_pb";

export type Comparison = "predicted" | "desired" | "defaults";

export const comparisons: readonly { id: Comparison; label: string; before: string; after: string; help: string }[] = [
  { id: "predicted", label: "What would change", before: "Live", after: "Predicted", help: "The cluster now, and as its API server says it would be after applying" },
  { id: "desired", label: "As declared", before: "Live", after: "Desired", help: "The cluster now, and what the source says, word for word" },
  { id: "defaults", label: "What the cluster adds", before: "Desired", after: "Predicted", help: "What the source says, and what defaults, webhooks and other writers make of it" },
];

// meaningful leaves out what the cluster writes down for itself: it differs
// whenever anything does, and nobody wants it to be one way or the other.
export function meaningful(yaml: string): string {
  let block = "";
  const lines = yaml.split("\n").filter((line) => {
    const top = /^([^\s#-][^:]*):/.exec(line)?.[1];
    if (top) block = top;
    return block !== "status" && !(block === "metadata" && /^ {2}(generation|resourceVersion|uid|creationTimestamp):/.test(line));
  });
  return lines.join("\n");
}

// textsOf are the texts to compare, from what was to what will be.
export function textsOf(diff: ObjectDiff, comparison: Comparison): [before: string, after: string] {
  const verb = diff.change?.verb;
  const live = meaningful(diff.live);
  const desired = meaningful(diff.desired);
  const predicted = meaningful(diff.predicted) || (verb === "delete" ? "" : verb === "" ? live : desired);
  if (comparison === "desired") return [live, desired];
  if (comparison === "defaults") return [desired, predicted];
  return [live, predicted];
}

// standing says in a word what becomes of an object.
export function standing(diff: ObjectDiff): string {
  if (diff.ignored) return "ignored";
  return diff.change?.verb || "same";
}

const order = ["delete", "recreate", "create", "adopt", "apply", "forget", "ignored", "same"];

export function sorted(objects: readonly ObjectDiff[]): ObjectDiff[] {
  const rank = (o: ObjectDiff) => (order.indexOf(standing(o)) + 20) % 20;
  return [...objects].sort((a, b) => rank(a) - rank(b) || a.object!.kind.localeCompare(b.object!.kind) || a.object!.name.localeCompare(b.object!.name));
}

// summary counts what becomes of the objects: "2 apply, 1 delete".
export function summary(response: Pick<GetDiffResponse, "objects" | "failed">): [word: string, count: number][] {
  const counts = new Map<string, number>();
  for (const diff of response.objects) counts.set(standing(diff), (counts.get(standing(diff)) ?? 0) + 1);
  if (response.failed.length > 0) counts.set("failed", response.failed.length);
  return [...counts].sort((a, b) => order.indexOf(a[0]) - order.indexOf(b[0]));
}
