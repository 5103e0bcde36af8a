// What a row says of a delivery in two lines: of what is wrong or under way, the
// reason; of what is well, what is delivered.
import type { Delivery } from "~/gen/plumb/v1/deliveries_pb";
import { shortRevision } from "~/parts/revision/Revision";

export interface Said {
  head: string;
  detail: string;
  well: boolean; // there is nothing to do
}

export function saidOf(d: Delivery): Said {
  if (d.reason) return { head: d.reason, detail: d.message, well: false };
  if (d.running) return { head: "Progressing", detail: d.message, well: false };
  const delivered = deliveredOf(d);
  if (d.automation === "suspended" || d.suspended) return { head: "Suspended", detail: delivered.head, well: false };
  if (d.sync === "OutOfSync") return { head: differing(d.outOfSync), detail: d.automation === "manual" ? "waits for a sync" : d.message, well: false };
  if (d.health?.state !== "Healthy") return { head: d.health?.reason || d.health?.state || "Unknown", detail: d.message || d.health?.message || "", well: false };
  return { ...delivered, well: true };
}

// deliveredOf is the commit or, of charts and artifacts, the revision.
function deliveredOf(d: Delivery): { head: string; detail: string } {
  if (d.commit?.subject) return { head: d.commit.subject, detail: [d.commit.hash.slice(0, 8), d.commit.author.replace(/ <.*/, "")].filter(Boolean).join(" · ") };
  return { head: d.shortRevision || shortRevision(d.revision) || "Up to date", detail: "" };
}

function differing(count: number): string {
  if (count === 0) return "Differs from its source";
  return count === 1 ? "1 object differs" : `${count} objects differ`;
}
