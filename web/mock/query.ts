// Lists as the server answers them: narrowed, counted, ordered and cut.
import { create } from "@bufbuild/protobuf";
import { FacetSchema, type Facet, type Query } from "../src/gen/plumb/v1/common_pb";
import type { Delivery } from "../src/gen/plumb/v1/deliveries_pb";

export interface Fields<T> {
  facets: Record<string, (row: T) => string>;
  order: Record<string, (row: T) => string | number>;
  text: (row: T) => string;
  labels: (row: T) => Record<string, string>;
  worst: (row: T) => number; // higher comes first
}

const severity: Record<string, number> = { Degraded: 6, Missing: 5, Unknown: 4, Progressing: 3, Suspended: 1, Healthy: 0 };

export const deliveryFields: Fields<Delivery> = {
  facets: {
    dialect: (d) => d.dialect,
    kind: (d) => d.ref!.kind,
    cluster: (d) => d.cluster,
    namespace: (d) => d.ref!.namespace,
    project: (d) => d.project,
    source: (d) => d.source?.url ?? "",
    health: (d) => d.health?.state ?? "Unknown",
    sync: (d) => d.sync,
    suspended: (d) => String(d.suspended),
    reason: (d) => d.reason,
    automation: (d) => d.automation,
    held: (d) => String(!!d.hold),
    made_by: (d) => (d.madeBy ? `${d.madeBy.kind}/${d.madeBy.namespace}/${d.madeBy.name}` : ""),
  },
  order: {
    name: (d) => d.ref!.name,
    namespace: (d) => d.ref!.namespace,
    cluster: (d) => d.cluster,
    project: (d) => d.project,
    health: (d) => -(severity[d.health?.state ?? "Unknown"] ?? 0),
    sync: (d) => d.sync,
    changed: (d) => Number(d.changed?.seconds ?? 0n),
    created: (d) => Number(d.created?.seconds ?? 0n),
    revision: (d) => d.revision,
    objects: (d) => d.objects,
  },
  text: (d) => [d.ref!.name, d.ref!.namespace, d.ref!.kind, d.source?.url, d.source?.path, d.project, d.cluster, d.revision, d.message].join(" ").toLowerCase(),
  labels: (d) => d.labels,
  worst: (d) => (severity[d.health?.state ?? "Unknown"] ?? 0) * 4 + (d.hold ? 3 : 0) + (d.sync === "Synced" ? 0 : 1),
};

export function matches<T>(fields: Fields<T>, query: Query | undefined, row: T): boolean {
  if (!query) return true;
  for (const [field, { values }] of Object.entries(query.where)) {
    const read = fields.facets[field];
    if (!read || !values.includes(read(row))) return false;
  }
  if (query.search) {
    const text = fields.text(row);
    if (!query.search.toLowerCase().split(/\s+/).every((word) => text.includes(word))) return false;
  }
  return query.labelSelector === "" || selects(query.labelSelector, fields.labels(row));
}

export function selects(selector: string, labels: Record<string, string>): boolean {
  return selector.split(/,(?![^(]*\))/).every((part) => {
    const set = /^\s*([\w./-]+)\s+(in|notin)\s+\(([^)]*)\)\s*$/.exec(part);
    if (set) return set[3]!.split(",").map((v) => v.trim()).includes(labels[set[1]!] ?? "") === (set[2] === "in");
    const equal = /^\s*([\w./-]+)\s*(==|=|!=)\s*([\w./-]*)\s*$/.exec(part);
    if (equal) return (labels[equal[1]!] === equal[3]) === (equal[2] !== "!=");
    const name = part.trim();
    return name.startsWith("!") ? !(name.slice(1) in labels) : name in labels;
  });
}

// facetsOf counts a row for a field when nothing but that field itself keeps it out.
export function facetsOf<T>(fields: Fields<T>, query: Query | undefined, rows: readonly T[], only = Object.keys(fields.facets)): Facet[] {
  const counts = only.map(() => new Map<string, number>());
  const where = Object.entries(query?.where ?? {});
  const rest = query && { ...query, where: {} };
  for (const row of rows) {
    if (!matches(fields, rest, row)) continue;
    const missed = where.filter(([field, { values }]) => !values.includes(fields.facets[field]?.(row) ?? "")).map(([field]) => field);
    if (missed.length > 1) continue;
    only.forEach((field, i) => {
      if (missed.length === 1 && missed[0] !== field) return;
      const value = fields.facets[field]!(row);
      counts[i]!.set(value, (counts[i]!.get(value) ?? 0) + 1);
    });
  }
  return only.map((field, i) => {
    const values = [...counts[i]!].map(([value, count]) => ({ value, count })).sort((a, b) => b.count - a.count || a.value.localeCompare(b.value));
    return create(FacetSchema, { field, values: values.slice(0, 200) });
  });
}

export function page<T>(fields: Fields<T>, query: Query | undefined, rows: readonly T[]) {
  const found = rows.filter((row) => matches(fields, query, row));
  const [field, way] = (query?.orderBy ?? "").split(" ");
  const read = fields.order[field!];
  if (read) {
    const sign = way === "desc" ? -1 : 1;
    found.sort((a, b) => (read(a) < read(b) ? -sign : read(a) > read(b) ? sign : 0));
  } else found.sort((a, b) => fields.worst(b) - fields.worst(a));
  const size = Math.min(query?.pageSize || 100, 1000);
  const start = Number(query?.pageToken || 0) + (query?.skip ?? 0);
  return { rows: found.slice(start, start + size), total: found.length, next: start + size < found.length ? String(start + size) : "" };
}
