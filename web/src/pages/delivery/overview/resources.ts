// The objects of a delivery, narrowed and ordered by what stands in the address.
import { titleOf } from "~/api/refs";
import type { Resource } from "~/gen/plumb/v1/deliveries_pb";

export interface ResourceFilter {
  text: string;
  health: readonly string[];
  sync: readonly string[];
  kind: readonly string[];
  order: string; // a field, and " desc" for the other way round; "": what is wrong first
}

const badness: Record<string, number> = { Degraded: 6, Missing: 5, Unknown: 4, Progressing: 3, Suspended: 1, Healthy: 0 };

export function healthOf(r: Pick<Resource, "health">): string {
  return r.health?.state || "Healthy";
}

export function shownResources(resources: readonly Resource[], filter: ResourceFilter): Resource[] {
  const words = filter.text.toLowerCase().split(/\s+/).filter(Boolean);
  const wanted = (chosen: readonly string[], value: string) => chosen.length === 0 || chosen.includes(value);
  const rows = resources.filter((r) => {
    const text = `${r.object!.kind} ${titleOf(r.object!)} ${r.file} ${r.drift} ${r.health?.message ?? ""}`.toLowerCase();
    return words.every((word) => text.includes(word)) && wanted(filter.health, healthOf(r)) && wanted(filter.sync, r.sync) && wanted(filter.kind, r.object!.kind);
  });
  const [field, way] = filter.order.split(" ");
  const sign = way === "desc" ? -1 : 1;
  const by = orders[field ?? ""];
  return rows.sort((a, b) => (by ? sign * by(a, b) : worst(a, b)) || named(a, b));
}

const orders: Record<string, (a: Resource, b: Resource) => number> = {
  name: (a, b) => a.object!.name.localeCompare(b.object!.name),
  kind: (a, b) => a.object!.kind.localeCompare(b.object!.kind),
  health: (a, b) => badness[healthOf(b)]! - badness[healthOf(a)]!,
  sync: (a, b) => a.sync.localeCompare(b.sync),
  wave: (a, b) => a.wave - b.wave,
  file: (a, b) => a.file.localeCompare(b.file) || a.line - b.line,
};

function worst(a: Resource, b: Resource): number {
  const score = (r: Resource) => (badness[healthOf(r)] ?? 4) * 4 + (r.prune ? 2 : 0) + (r.sync === "OutOfSync" ? 1 : 0);
  return score(b) - score(a);
}

function named(a: Resource, b: Resource): number {
  return a.object!.kind.localeCompare(b.object!.kind) || titleOf(a.object!).localeCompare(titleOf(b.object!));
}

// countsOf says how many have each value, most frequent first.
export function countsOf<T>(rows: readonly T[], value: (row: T) => string): [string, number][] {
  const counts = new Map<string, number>();
  for (const row of rows) counts.set(value(row), (counts.get(value(row)) ?? 0) + 1);
  return [...counts].sort((a, b) => b[1] - a[1] || a[0].localeCompare(b[0]));
}
