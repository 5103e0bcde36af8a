// The way of a run: what it has done, where it is or stopped, what is still to come.
import type { Delivery } from "~/gen/plumb/v1/deliveries_pb";

export const phases = [
  ["resolve", "Fetch the source"],
  ["render", "Render manifests"],
  ["gate", "Dependencies and windows"],
  ["plan", "Compare"],
  ["apply", "Apply"],
  ["prune", "Prune"],
  ["settle", "Health checks"],
] as const;

export type Step = "done" | "now" | "stopped" | "waits" | "ahead";

// stepsOf says for each phase how far the last run of a delivery came.
export function stepsOf(delivery: Pick<Delivery, "phase" | "running" | "health" | "hold" | "suspended">): Step[] {
  const at = phases.findIndex(([id]) => id === delivery.phase);
  if (delivery.phase === "done") return phases.map(() => "done");
  if (at < 0) return phases.map(() => "ahead");
  const broken = delivery.health?.state === "Degraded" || delivery.health?.state === "Missing";
  const here: Step = delivery.running ? "now" : broken ? "stopped" : "waits";
  return phases.map((_, i) => (i < at ? "done" : i === at ? here : "ahead"));
}
