// The server answers all clusters at once; they are narrowed and ordered here.
import type { ListQuery } from "~/api/query";
import type { Cluster } from "~/gen/plumb/v1/fleet_pb";

const severity = ["Degraded", "Unknown", "Healthy"]; // of a connection, the worst first

const fields: Record<string, (c: Cluster) => string | number> = {
  name: (c) => c.name,
  health: (c) => severity.indexOf(c.health?.state ?? ""),
  version: (c) => c.version,
  objects: (c) => c.objects,
  deliveries: (c) => c.deliveries,
};

// ordered has what is unreachable first, then where most is wrong, unless another order is asked for.
export function ordered(clusters: readonly Cluster[], query: ListQuery): Cluster[] {
  const words = query.search.toLowerCase().split(/\s+/).filter(Boolean);
  const found = clusters.filter((c) => {
    const text = [c.name, c.server, c.version, c.project, c.health?.message, ...Object.entries(c.labels).map(([k, v]) => `${k}=${v}`)].join(" ").toLowerCase();
    return words.every((word) => text.includes(word));
  });
  const [field = "", way] = query.order.split(" ");
  const read = fields[field];
  if (!read) return found.sort((a, b) => Number(b.health?.state === "Degraded") - Number(a.health?.state === "Degraded") || b.unhealthy - a.unhealthy || a.name.localeCompare(b.name));
  const sign = way === "desc" ? -1 : 1;
  return found.sort((a, b) => (read(a) < read(b) ? -sign : read(a) > read(b) ? sign : a.name.localeCompare(b.name)));
}
