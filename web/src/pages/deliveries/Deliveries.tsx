import { useCallback, useEffect, useMemo, useRef, useState } from "react";
import { useLocation, useSearchParams } from "wouter";
import { isNarrowed, type ListQuery } from "~/api/query";
import { deliveryPath, keyOf } from "~/api/refs";
import { useCrumbs } from "~/app/crumbs";
import { useKeys } from "~/app/keys";
import { announce } from "~/parts/announce/announce";
import { Button } from "~/parts/button/Button";
import { Dialog } from "~/parts/dialog/Dialog";
import { Chosen } from "~/parts/facets/Chosen";
import { fieldTitle, valueTitle } from "~/parts/facets/FacetPanel";
import { Icon } from "~/parts/icon/Icon";
import { Page } from "~/parts/page/Page";
import { Empty, TroubleState } from "~/parts/states/States";
import { HealthMark, SyncMark } from "~/parts/state/State";
import { VirtualTable, type Slot, type TableHandle } from "~/parts/table/VirtualTable";
import { useNarrow } from "~/parts/table/useNarrow";
import type { Facet } from "~/gen/plumb/v1/common_pb";
import type { Delivery } from "~/gen/plumb/v1/deliveries_pb";
import { lookFromUrl, lookToUrl, type Look } from "./address";
import { Causes } from "./Causes";
import { columns, Compact, fieldsOf } from "./columns";
import { Filters } from "./Filters";
import type { Segment } from "./list";
import { SelectionBar } from "./SelectionBar";
import { Slots } from "./slots";
import { Strip } from "./Strip";
import { Tiles } from "./Tiles";
import { Toolbar } from "./Toolbar";
import { useDeliveries } from "./useDeliveries";
import { useSelection } from "./useSelection";
import styles from "./Deliveries.module.css";

const hrefOf = (d: Delivery) => deliveryPath(d.ref!);
const compact = (d: Delivery) => <Compact delivery={d} />;
export default function Deliveries() {
  useCrumbs({ label: "Deliveries" });
  const [params, setParams] = useSearchParams();
  const [, navigate] = useLocation();
  const address = params.toString();
  const look = useMemo(() => lookFromUrl(new URLSearchParams(address)), [address]);
  // Callbacks stay the same from one change of the list to the next, so that what
  // stands around it is not rendered again.
  const latest = useRef({ look, setParams });
  latest.current = { look, setParams };
  const setLook = useCallback((next: Look) => latest.current.setParams(lookToUrl(next), { replace: true }), []);
  const setQuery = useCallback((query: ListQuery) => setLook({ ...latest.current.look, query }), [setLook]);
  const goTo = useCallback((search: string) => navigate(`/deliveries${search && `?${search}`}`), [navigate]);
  const [filters, setFilters] = usePanel();
  const table = useRef<TableHandle>(null);

  const { list, state, pending } = useDeliveries(look.query, look.group, useMemo(() => fieldsOf(look.columns), [look.columns]));
  const slots = useMemo(() => new Slots(state.segments, list.group !== ""), [state.segments, list]);
  const rowAt = (index: number) => {
    if (index >= slots.count) return undefined;
    const { segment, index: i } = slots.at(index);
    return i < 0 ? undefined : segment.rows[i];
  };
  const selection = useSelection((index) => rowAt(index)?.ref);
  const onRange = useCallback((first: number, last: number) => slots.see(list, first, last), [list, slots]);

  useKeys("Lists", [
    { keys: "j", label: "Next row", run: () => table.current?.focus(1) },
    { keys: "k", label: "Row before", run: () => table.current?.focus(-1) },
    ...(state.moved > 0 ? [{ keys: ".", label: "Show what has moved", run: () => void list.load() }] : []),
  ]);
  useEffect(() => {
    if (state.ready) announce(`${state.total} deliveries`);
  }, [state.ready, state.total]);

  const groupTitle = (segment: Segment) => <GroupTitle field={list.group} segment={segment} />;
  const slotAt = (index: number): Slot<Delivery> => {
    const { segment, index: i } = slots.at(index);
    if (i < 0) return { kind: "group", key: `group:${segment.value}`, title: groupTitle(segment), open: segment.open, onToggle: () => list.toggle(segment) };
    const row = segment.rows[i];
    return row ? { kind: "row", key: keyOf(row.ref), row } : { kind: "wait", key: `wait${index}` };
  };

  const shownColumns = useMemo(() => columns.filter((c) => c.always || look.columns.includes(c.id)), [look.columns]);
  const labelsWrong = state.trouble?.kind === "invalid" && look.query.labels !== "" ? state.trouble.detail : undefined;
  const empty = state.ready && state.total === 0;
  const panel = <Filters facets={state.facets} query={look.query} onQuery={setQuery} labelError={labelsWrong} />;
  const narrow = useNarrow();
  const toggleFilters = useCallback(() => setFilters((open) => !open), [setFilters]);

  return (
    <Page title="Deliveries" fill>
      <h1 className="unseen">Deliveries</h1>
      <Strip facets={state.ready ? state.facets : undefined} unknown={!!state.trouble} query={look.query} onQuery={setQuery} />
      <Causes query={look.query} ready={state.ready} count={wrongCount(state.facets)} onQuery={setQuery} />
      <div className={styles.columns} data-filters={(filters && !narrow) || undefined}>
        {filters && !narrow && <aside className={styles.panel} aria-label="Filters">{panel}</aside>}
        <div className={styles.list} aria-busy={pending}>
          <Toolbar look={look} onLook={setLook} onAddress={goTo} filters={filters} onFilters={toggleFilters} narrowed={Object.keys(look.query.where).length + (look.query.labels ? 1 : 0)} />
          <Chosen query={look.query} onQuery={setQuery} />
          <div className={styles.rows} data-pending={pending || undefined}>
            {state.trouble && !state.ready ? (
              <TroubleState trouble={state.trouble} retry={() => void list.load()} />
            ) : empty ? (
              <NoDeliveries narrowed={isNarrowed(look.query)} onClear={() => setQuery({ search: "", where: {}, labels: "", order: "" })} />
            ) : look.view === "tiles" && !narrow ? (
              <Tiles list={list} segments={state.segments} grouped={list.group !== ""} selection={selection} titleOf={groupTitle} />
            ) : (
              <VirtualTable ref={table} label="Deliveries" groups={list.group === "" ? undefined : slots} columns={shownColumns} count={state.ready ? slots.count : 0} waiting={!state.ready} slotAt={slotAt} onRange={onRange} href={hrefOf} order={look.query.order} onOrder={(order) => setQuery({ ...look.query, order })} selection={selection} compact={compact} rowHeight={48} dim={(d) => list.isGone(d)} remember={address || "all"} />
            )}
            {state.moved > 0 && <button type="button" className={styles.moved} onClick={() => (void list.load(), table.current?.toTop())}><Icon name="refresh" size={14} />The list has changed · show</button>}
            <SelectionBar selection={selection} total={state.total} onSelectAll={() => void list.every().then(selection.set)} />
          </div>
          <p className={styles.foot}>
            <span className="numbers">{state.ready ? `${state.total.toLocaleString()} ${state.total === 1 ? "delivery" : "deliveries"}` : " "}</span>
            {state.trouble && state.ready && <span className={styles.stale}><Icon name="warning" size={14} />{state.trouble.title}</span>}
          </p>
        </div>
      </div>
      {filters && narrow && <Dialog title="Filters" look="sheet" size="s" onClose={() => setFilters(false)} footer={<Button look="primary" onPress={() => setFilters(false)}>Show {state.total.toLocaleString()}</Button>}>{panel}</Dialog>}
    </Page>
  );
}

function NoDeliveries({ narrowed, onClear }: { narrowed: boolean; onClear: () => void }) {
  if (narrowed)
    return (
      <div className={styles.none}>
        <Empty icon="filter" title="No delivery matches" action={<Button onPress={onClear}>Clear the filters</Button>}>
          <p>Nothing you may see has all that you asked for.</p>
        </Empty>
      </div>
    );
  return (
    <div className={styles.none}>
      <Empty icon="deliveries" title="Nothing is delivered yet">
        <p>A delivery is a Kustomization or HelmRelease of Flux, or an Application of Argo CD. Apply one to this cluster, and it appears here by itself.</p>
      </Empty>
    </div>
  );
}

function GroupTitle({ field, segment }: { field: string; segment: Segment }) {
  return (
    <>
      {field === "health" && <HealthMark state={segment.value} silent />}
      {field === "sync" && <SyncMark state={segment.value} silent />}
      <span className="cut">{valueTitle(field, segment.value)}</span>
      <span className={styles.groupCount} aria-label={`${segment.total} deliveries, ${fieldTitle(field)}`}>{segment.total.toLocaleString()}</span>
    </>
  );
}

function wrongCount(facets: readonly Facet[]): number {
  const health = facets.find((f) => f.field === "health")?.values ?? [];
  return health.filter((v) => ["Degraded", "Missing", "Unknown"].includes(v.value)).reduce((sum, v) => sum + v.count, 0);
}

// Whether the filters are open is remembered, but on a phone, where they cover the list.
function usePanel() {
  const key = "plumb.filters.deliveries";
  const [open, setOpen] = useState(() => window.innerWidth > 1100 && localStorage.getItem(key) !== "closed");
  useEffect(() => {
    if (window.innerWidth > 1100) localStorage.setItem(key, open ? "open" : "closed");
  }, [open]);
  return [open, setOpen] as const;
}
