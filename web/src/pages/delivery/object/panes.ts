// Which parts of an object there are to be shown.
import type { GetObjectResponse, Node } from "~/gen/plumb/v1/deliveries_pb";

export type Pane = "live" | "desired" | "diff" | "events" | "logs";

export function panesOf(data: GetObjectResponse | undefined, node: Pick<Node, "delivered" | "logs"> | undefined): { id: Pane; label: string; count?: number }[] {
  const delivered = data ? data.desired !== "" || !!data.resource : node?.delivered !== false;
  const logs = data ? data.containers.length > 0 : !!node?.logs;
  const panes: { id: Pane; label: string; count?: number }[] = [{ id: "live", label: "Live" }];
  if (delivered) panes.push({ id: "desired", label: "Desired" }, { id: "diff", label: "Diff" });
  panes.push({ id: "events", label: "Events", count: data?.events.length || undefined });
  if (logs) panes.push({ id: "logs", label: "Logs" });
  return panes;
}
