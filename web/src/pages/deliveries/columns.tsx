import { Link } from "wouter";
import { deliveryPath } from "~/api/refs";
import type { Delivery } from "~/gen/plumb/v1/deliveries_pb";
import { Revision } from "~/parts/revision/Revision";
import { HealthBadge, HealthMark, SyncBadge, SyncMark } from "~/parts/state/State";
import type { Column } from "~/parts/table/VirtualTable";
import { TimeAgo } from "~/parts/time/TimeAgo";
import { Icon } from "~/parts/icon/Icon";
import { saidOf } from "./said";
import styles from "./rows.module.css";

export const columns: readonly (Column<Delivery> & { always?: boolean; field?: string })[] = [
  { id: "name", title: "Name", width: "minmax(190px, 1.5fr)", order: "name", always: true, cell: (d) => <Name delivery={d} /> },
  { id: "kind", title: "Kind", width: "118px", spare: 3, cell: (d) => <span className="quiet">{d.ref!.kind}</span> },
  { id: "health", title: "Health", width: "112px", order: "health", cell: (d) => <HealthBadge health={d.health} /> },
  { id: "sync", title: "Sync", width: "118px", order: "sync", cell: (d) => <SyncBadge sync={d.sync} /> },
  { id: "why", title: "Status", width: "minmax(170px, 2fr)", cell: (d) => <TwoLines delivery={d} /> },
  { id: "cluster", title: "Cluster", width: "94px", spare: 2, order: "cluster", cell: (d) => d.cluster },
  { id: "project", field: "project", title: "Project", width: "104px", order: "project", cell: (d) => d.project || <span className="quiet">–</span> },
  { id: "source", field: "source", title: "Source", width: "minmax(180px, 1.2fr)", cell: (d) => <span title={d.source?.url}>{(d.source?.url ?? "").replace(/^\w+:\/\//, "") || "–"}</span> },
  { id: "path", field: "source", title: "Path", width: "minmax(120px, 1fr)", cell: (d) => <code>{d.source?.path || d.source?.chart || "–"}</code> },
  { id: "revision", field: "revision", title: "Revision", width: "150px", order: "revision", cell: (d) => <Revision revision={d.revision} /> },
  { id: "objects", field: "objects", title: "Objects", width: "84px", order: "objects", end: true, cell: (d) => d.objects.toLocaleString() },
  { id: "labels", field: "labels", title: "Labels", width: "minmax(160px, 1.2fr)", cell: (d) => <code className="quiet">{Object.entries(d.labels).map(([k, v]) => `${k}=${v}`).join(" ")}</code> },
  { id: "changed", title: "Changed", width: "76px", spare: 1, order: "changed", end: true, cell: (d) => <TimeAgo time={d.changed} /> },
  { id: "created", field: "created", title: "Created", width: "84px", order: "created", end: true, cell: (d) => <TimeAgo time={d.created} /> },
];

// fieldsOf are the fields of a delivery that columns show, besides those of every row.
export function fieldsOf(shown: readonly string[]): string[] {
  return [...new Set(columns.filter((c) => c.field && shown.includes(c.id)).map((c) => c.field!))];
}

export const defaultColumns = ["name", "health", "sync", "why", "cluster", "changed"];

function Name({ delivery: d }: { delivery: Delivery }) {
  return (
    <a className={styles.name} href={deliveryPath(d.ref!)} data-row-link="" tabIndex={-1} title={`${d.ref!.kind} ${d.ref!.namespace}/${d.ref!.name}`}>
      <span>{d.ref!.name}</span>
      <span className={styles.below}>{d.ref!.kind} · {d.ref!.namespace}</span>
    </a>
  );
}

// Why is what a row says of a delivery, in one line.
export function Why({ delivery: d }: { delivery: Delivery }) {
  const { head, detail, well } = saidOf(d);
  if (well) return <span className={styles.well} title={[head, detail].filter(Boolean).join(" · ")}>{head}</span>;
  return (
    <span className={styles.why} title={d.message}>
      {d.hold && <Icon name="hand" size={14} />}
      <b>{head}</b>
      <span>{detail}</span>
    </span>
  );
}

// TwoLines is the same where there is room for two lines; always two, so that a
// change of one to the other moves nothing.
function TwoLines({ delivery: d }: { delivery: Delivery }) {
  const { head, detail, well } = saidOf(d);
  return (
    <span className={styles.lines} title={d.message || [head, detail].filter(Boolean).join(" · ")}>
      {well ? <span className={styles.well}>{head}</span> : <b>{d.hold && <Icon name="hand" size={14} />}<span className="cut">{head}</span></b>}
      <span className={styles.below}>{detail || "\u00a0"}</span>
    </span>
  );
}

// Compact is a row on a phone: what, how it is, and why, in three lines.
export function Compact({ delivery: d }: { delivery: Delivery }) {
  return (
    <span className={styles.compact}>
      <span className={styles.first}>
        <HealthMark state={d.health?.state} />
        <strong className="cut">{d.ref!.name}</strong>
        <SyncMark state={d.sync} />
        <TimeAgo time={d.changed} />
      </span>
      <span className={styles.second}>{d.ref!.kind} · {d.ref!.namespace} · {d.cluster}</span>
      <Why delivery={d} />
    </span>
  );
}

// Tile is a card of the tiles.
export function Tile({ delivery: d }: { delivery: Delivery }) {
  return (
    <>
      <span className={styles.first}>
        <HealthMark state={d.health?.state} />
        <Link className={styles.tileName} href={deliveryPath(d.ref!)} title={`${d.ref!.namespace}/${d.ref!.name}`}>{d.ref!.name}</Link>
      </span>
      <span className={styles.second}>{d.ref!.kind} · {d.ref!.namespace}</span>
      <span className={styles.tileWhy}><Why delivery={d} /></span>
      <span className={styles.tileFoot}>
        <SyncBadge sync={d.sync} />
        <span className="cut">{d.cluster}</span>
        <TimeAgo time={d.changed} />
      </span>
    </>
  );
}
