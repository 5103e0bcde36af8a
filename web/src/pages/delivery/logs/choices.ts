// Whose logs there are to be read of an object: its Pods, and their containers.
import type { Container, GetObjectResponse } from "~/gen/plumb/v1/deliveries_pb";

export interface Readable {
  pods: { name: string; status: string }[];
  containers: { name: string; kind: string; note: string }[]; // of all Pods, each once
  usual: string; // container that is read unless another is asked for
  previous: boolean; // there may have been an instance before
}

// readableOf looks at one Pod only where one is asked for.
export function readableOf(about: Pick<GetObjectResponse, "pods" | "containers"> | undefined, pod: string, container: string): Readable {
  const all = about?.pods ?? [];
  const looked = pod ? all.filter((p) => p.object!.name === pod) : all;
  const found = new Map<string, Container[]>();
  for (const one of looked.flatMap((p) => p.containers)) found.set(one.name, [...(found.get(one.name) ?? []), one]);
  const containers = found.size > 0 ? [...found].map(([name, them]) => ({ name, kind: them[0]!.kind, note: noteOf(them) })) : (about?.containers ?? []).map((name) => ({ name, kind: "container", note: "" }));
  const usual = [...found].find(([, them]) => them.some((c) => c.default))?.[0] ?? containers[0]?.name ?? "";
  const read = container && container !== every ? (found.get(container) ?? []) : [...found.values()].flat();
  return { pods: all.map((p) => ({ name: p.object!.name, status: p.status })), containers, usual, previous: all.length === 0 || read.some((c) => c.previous) };
}

// every stands for all containers, in the address too: no container is called like this.
export const every = "*";

function noteOf(containers: readonly Container[]): string {
  const restarts = containers.reduce((sum, c) => sum + c.restarts, 0);
  const reason = containers.map((c) => c.reason).find((r) => r && r !== "Completed");
  const { kind } = containers[0]!;
  return [kind !== "container" && kind, reason, restarts > 0 && `${restarts} ${restarts === 1 ? "restart" : "restarts"}`].filter(Boolean).join(" · ");
}
