// ApplicationSets, and the Applications of those that are unfolded.
import { create } from "@bufbuild/protobuf";
import { FieldMaskSchema } from "@bufbuild/protobuf/wkt";
import { useEffect, useState } from "react";
import { useApi } from "~/api/api";
import { queryForServer, type ListQuery } from "~/api/query";
import { useCall } from "~/api/useCall";
import { useStream } from "~/api/useStream";
import type { Delivery } from "~/gen/plumb/v1/deliveries_pb";

// More than these of one kind are never shown at once; the list of deliveries has the rest.
const most = 1_000;
const readMask = create(FieldMaskSchema, { paths: ["ref", "cluster", "health", "sync", "running", "reason", "message", "hold", "commit", "short_revision", "automation", "out_of_sync", "project", "changed", "target_namespace"] });
// Changes that come together are asked for together.
const settle = 400;

// nameOf is a set as the field made_by has it.
export function nameOf(set: Delivery): string {
  return `ApplicationSet/${set.ref!.namespace}/${set.ref!.name}`;
}

export function useSets(query: ListQuery) {
  const asked: ListQuery = { ...query, where: { ...query.where, kind: ["ApplicationSet"] } };
  const answer = useCall(`sets:${JSON.stringify(asked)}`, (api, signal) => api.deliveries.listDeliveries({ query: queryForServer(asked, { size: most }), readMask, facets: true }, { signal }), { keep: true });
  // How many Applications each has, of all that there are.
  const counted: ListQuery = { search: "", where: { kind: ["Application"] }, labels: "", order: "" };
  const counts = useCall("sets:counts", (api, signal) => api.deliveries.listDeliveries({ query: queryForServer(counted, { size: 1 }), readMask, facets: true }, { signal }));
  const children = new Map(counts.data?.facets.find((f) => f.field === "made_by")?.values.map((v) => [v.value, v.count]));
  const [version, setVersion] = useState(0);
  // Any change of what Argo CD delivers may concern a set or its children.
  useStream(
    answer.data ? "sets" : null,
    (client, options) => client.deliveries.watchDeliveries({ query: queryForServer({ ...counted, where: { kind: ["Application", "ApplicationSet"] } }), readMask: create(FieldMaskSchema, { paths: ["ref"] }), since: answer.data!.revision }, options),
    (message) => (message.changed.length > 0 || message.removed.length > 0) && setVersion((v) => v + 1),
  );
  const { refresh } = answer;
  const { refresh: recount } = counts;
  useEffect(() => {
    if (version === 0) return;
    const timer = setTimeout(() => (void refresh(), void recount()), settle);
    return () => clearTimeout(timer);
  }, [version, refresh, recount]);
  return { answer, sets: answer.data?.deliveries, children, version };
}

// useChildren holds the Applications of the sets that are open, by the name of the set.
export function useChildren(open: readonly string[], version: number): ReadonlyMap<string, readonly Delivery[]> {
  const api = useApi();
  const [known, setKnown] = useState<ReadonlyMap<string, readonly Delivery[]>>(new Map());
  const names = open.join(" ");
  useEffect(() => {
    const stop = new AbortController();
    const ask = (name: string) =>
      api.deliveries.listDeliveries({ query: queryForServer({ search: "", where: { made_by: [name] }, labels: "", order: "" }, { size: most }), readMask }, { signal: stop.signal }).then(
        (answer) => setKnown((before) => new Map(before).set(name, answer.deliveries)),
        // The heading keeps its skeletons; the next change, or unfolding it again, asks anew.
        () => undefined,
      );
    const timer = setTimeout(() => names.split(" ").filter(Boolean).forEach((name) => void ask(name)), version === 0 ? 0 : settle);
    return () => (clearTimeout(timer), stop.abort());
  }, [api, names, version]);
  return known;
}
