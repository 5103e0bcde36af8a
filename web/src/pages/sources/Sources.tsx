import { useMemo, useRef } from "react";
import { queryForServer } from "~/api/query";
import { keyOf, sourcePath } from "~/api/refs";
import { useRows } from "~/api/rows";
import { useCrumbs } from "~/app/crumbs";
import { useKeys } from "~/app/keys";
import type { Source } from "~/gen/plumb/v1/fleet_pb";
import { List } from "~/parts/list/List";
import { useListQuery } from "~/parts/list/useListQuery";
import { Page } from "~/parts/page/Page";
import { VirtualTable, type TableHandle } from "~/parts/table/VirtualTable";
import { columns, Compact } from "./columns";

const fields = ["health", "dialect", "kind", "namespace", "suspended"] as const;
const skeletonRows = 24;

export default function Sources() {
  useCrumbs({ label: "Sources" });
  const [query, setQuery] = useListQuery(fields);
  const address = JSON.stringify(query);
  const { state, see, load, pending } = useRows<Source>(`sources:${address}`, {
    page: async (api, { skip, size }, options) => {
      const answer = await api.fleet.listSources({ query: queryForServer(query, { skip, size }), facets: true }, options);
      return { rows: answer.sources, total: answer.totalSize, facets: answer.facets, revision: answer.revision };
    },
    watch: (api, since, options) => api.fleet.watchSources({ query: queryForServer(query), facets: true, since }, options),
  });
  const table = useRef<TableHandle>(null);
  useKeys("List", [
    { keys: "j", label: "Next row", run: () => table.current?.focus(1) },
    { keys: "k", label: "Row before", run: () => table.current?.focus(-1) },
  ]);
  const filters = useMemo(() => ({ facets: state.facets, fields }), [state.facets]);
  const failing = state.facets.find((f) => f.field === "health")?.values.find((v) => v.value === "Degraded")?.count ?? 0;
  return (
    <Page title="Sources" fill>
      <h1 className="unseen">Sources</h1>
      <List
        name="sources"
        placeholder="Name, URL, revision, message…"
        query={query}
        onQuery={setQuery}
        filters={filters}
        state={state}
        pending={pending}
        retry={load}
        foot={`${state.total.toLocaleString()} ${state.total === 1 ? "source" : "sources"}${failing > 0 ? `, ${failing.toLocaleString()} degraded` : ""}`}
        none={{ icon: "sources", title: "There are no sources yet", text: <p>A source is a GitRepository, OCIRepository, HelmRepository, HelmChart or Bucket of Flux. Applications of Argo CD name their repositories themselves.</p> }}
      >
        <VirtualTable
          ref={table}
          label="Sources"
          columns={columns}
          count={state.ready ? state.total : skeletonRows}
          slotAt={(index) => {
            const row = state.rows[index];
            return row ? { kind: "row", key: keyOf(row.ref), row } : { kind: "wait", key: `wait${index}` };
          }}
          onRange={see}
          href={(s) => sourcePath(s.ref!)}
          order={query.order}
          onOrder={(order) => setQuery({ ...query, order })}
          compact={(s) => <Compact source={s} />}
          rowHeight={38}
          remember={`sources:${address}`}
        />
      </List>
    </Page>
  );
}
