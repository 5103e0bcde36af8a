import { useCallback, useMemo } from "react";
import { keyOf, pathOf } from "~/api/refs";
import type { GetDeliveryResponse, Resource } from "~/gen/plumb/v1/deliveries_pb";
import { Button } from "~/parts/button/Button";
import { SearchField } from "~/parts/field/Field";
import { ChoiceMenu } from "~/parts/menu/Menu";
import { ObjectName } from "~/parts/object/ObjectName";
import { Panel } from "~/parts/panel/Panel";
import { HealthBadge, HealthMark, SyncBadge, SyncMark } from "~/parts/state/State";
import { Empty } from "~/parts/states/States";
import { VirtualTable, type Column } from "~/parts/table/VirtualTable";
import { useNarrow } from "~/parts/table/useNarrow";
import { useAddress } from "../address";
import { countsOf, healthOf, shownResources } from "./resources";
import styles from "./Overview.module.css";

const head = 34;
const row = 38;
const compactRow = 58;
const most = 16; // rows in sight; more scroll

export function Resources({ detail }: { detail: GetDeliveryResponse }) {
  const address = useAddress();
  const narrow = useNarrow();
  const { params } = address;
  const filter = useMemo(() => ({ text: params.get("q") ?? "", health: params.getAll("health"), sync: params.getAll("sync"), kind: params.getAll("kind"), order: params.get("order") ?? "" }), [params]);
  const rows = useMemo(() => shownResources(detail.resources, filter), [detail.resources, filter]);
  const home = detail.delivery?.targetNamespace ?? "";
  const { waves, hooks } = useMemo(() => ({ waves: detail.resources.some((r) => r.wave !== 0), hooks: detail.resources.some((r) => r.hook) }), [detail.resources]);
  const columns = useMemo(() => columnsOf(home, waves, hooks), [home, waves, hooks]);
  const hrefOf = useCallback((r: Resource) => address.href({ object: keyOf(r.object) }), [address]);
  const narrowed = filter.text !== "" || filter.health.length + filter.sync.length + filter.kind.length > 0;
  const height = narrow ? compactRow : row;

  return (
    <Panel
      flush
      title={detail.delivery?.ref?.kind === "ApplicationSet" ? "Applications" : "Resources"}
      note={narrowed ? `${rows.length} of ${detail.resources.length}` : String(detail.resources.length)}
      actions={
        <>
          <SearchField label="Find a resource" value={filter.text} onChange={(q) => address.set({ q })} placeholder="Name, kind, file…" />
          <Filter name="health" title="Health" values={countsOf(detail.resources, healthOf)} chosen={filter.health} />
          <Filter name="sync" title="Sync" values={countsOf(detail.resources, (r) => r.sync)} chosen={filter.sync} />
          <Filter name="kind" title="Kind" values={countsOf(detail.resources, (r) => r.object!.kind)} chosen={filter.kind} />
        </>
      }
    >
      {detail.resources.length === 0 ? (
        <Empty icon="deliveries" title="Nothing is delivered yet"><p>As soon as it was rendered, its objects are listed here.</p></Empty>
      ) : rows.length === 0 ? (
        <Empty title="No resource is like this" action={<Button onPress={() => address.set({ q: null, health: null, sync: null, kind: null })}>Show all {detail.resources.length}</Button>} />
      ) : (
        <div className={styles.table} style={{ height: (narrow ? 0 : head) + Math.min(rows.length, most) * height }}>
          <VirtualTable
            label="Resources"
            columns={columns}
            count={rows.length}
            slotAt={(i) => ({ kind: "row", key: keyOf(rows[i]!.object), row: rows[i]! })}
            href={hrefOf}
            order={filter.order}
            onOrder={(order) => address.set({ order })}
            rowHeight={row}
            compactHeight={compactRow}
            compact={(r) => <CompactRow r={r} home={home} />}
            version={rows}
          />
        </div>
      )}
    </Panel>
  );
}

function Filter({ name, title, values, chosen }: { name: string; title: string; values: readonly [string, number][]; chosen: readonly string[] }) {
  const address = useAddress();
  if (values.length < 2 && chosen.length === 0) return null;
  const choose = (ids: string[]) => {
    const params = new URLSearchParams(address.params);
    params.delete(name);
    for (const id of ids) params.append(name, id);
    address.replace(params);
  };
  const label = (value: string) => (value === "OutOfSync" ? "Out of sync" : value);
  return (
    <ChoiceMenu
      several
      title={title}
      button={<Button size="s" icon="down" aria-label={`Narrow by ${title.toLowerCase()}`} aria-pressed={chosen.length > 0}>{chosen.length === 0 ? title : chosen.map(label).join(", ")}</Button>}
      items={values.map(([value, count]) => ({ id: value, text: label(value), note: String(count), label: <span className={styles.choice}>{name === "health" && <HealthMark state={value} silent />}{name === "sync" && <SyncMark state={value} silent />}{label(value)}</span> }))}
      chosen={chosen}
      onChoose={choose}
    />
  );
}

function columnsOf(home: string, waves: boolean, hooks: boolean): Column<Resource>[] {
  const columns: (Column<Resource> | false)[] = [
    { id: "kind", title: "Kind", width: "minmax(160px, 0.8fr)", order: "kind", cell: (r) => <span className="quiet" title={r.object!.group ? `${r.object!.kind}.${r.object!.group}` : undefined}>{r.object!.kind}</span> },
    { id: "name", title: "Name", width: "minmax(150px, 2fr)", order: "name", cell: (r) => <span className={styles.name}><ObjectName of={r.object!} tag={false} home={home} href={pathOf(r.object)} plain={!pathOf(r.object)} /></span> },
    { id: "health", title: "Health", width: "124px", order: "health", cell: (r) => <HealthBadge health={{ state: healthOf(r), message: r.health?.message ?? "" }} /> },
    { id: "sync", title: "Sync", width: "116px", order: "sync", cell: (r) => <span title={r.drift}><SyncBadge sync={r.sync} /></span> },
    waves && { id: "wave", title: "Wave", width: "64px", order: "wave", end: true, cell: (r) => r.wave || "" },
    hooks && { id: "hook", title: "Hook", width: "96px", cell: (r) => r.hook },
    { id: "file", title: "Source", width: "minmax(130px, 1.5fr)", order: "file", cell: (r) => (r.prune ? <i className={styles.prune}>to be pruned</i> : r.file && <code className="quiet" title={`${r.file}${r.line ? `:${r.line}` : ""}`}>{ending(r.file)}{r.line > 0 && `:${r.line}`}</code>) },
  ];
  return columns.filter((c) => c !== false);
}

function CompactRow({ r, home }: { r: Resource; home: string }) {
  return (
    <span className={styles.compact}>
      <HealthMark state={healthOf(r)} />
      <span className={styles.compactName}>
        <span className="cut">{r.object!.namespace && r.object!.namespace !== home ? `${r.object!.namespace}/` : ""}{r.object!.name}</span>
        <span className="cut quiet">{r.object!.kind}{r.drift && ` · ${r.drift}`}</span>
      </span>
      {r.sync === "OutOfSync" && <SyncMark state={r.sync} />}
    </span>
  );
}

// ending keeps the end of a long path: that is where files differ.
function ending(file: string): string {
  const parts = file.split("/");
  return file.length > 24 && parts.length > 1 ? `…/${parts.at(-1)}` : file;
}
