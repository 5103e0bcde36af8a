import { Link } from "wouter";
import { deliveryPath, keyOf } from "~/api/refs";
import type { Delivery } from "~/gen/plumb/v1/deliveries_pb";
import type { Source } from "~/gen/plumb/v1/fleet_pb";
import { Panel } from "~/parts/panel/Panel";
import { Revision } from "~/parts/revision/Revision";
import { HealthBadge, HealthMark, SyncBadge } from "~/parts/state/State";
import { Empty } from "~/parts/states/States";
import { VirtualTable, type Column } from "~/parts/table/VirtualTable";
import { TimeAgo } from "~/parts/time/TimeAgo";
import styles from "./Source.module.css";

const columns: readonly Column<Delivery>[] = [
  { id: "name", title: "Name", width: "minmax(180px, 1.5fr)", cell: (d) => <Link className={styles.reader} href={deliveryPath(d.ref!)} tabIndex={-1}>{d.ref!.name} <span>{d.ref!.namespace}</span></Link> },
  { id: "kind", title: "Kind", width: "124px", spare: 1, cell: (d) => <span className="quiet">{d.ref!.kind}</span> },
  { id: "health", title: "Health", width: "122px", cell: (d) => <HealthBadge health={d.health} /> },
  { id: "sync", title: "Sync", width: "118px", cell: (d) => <SyncBadge sync={d.sync} /> },
  { id: "path", title: "Path", width: "minmax(120px, 1fr)", spare: 2, cell: (d) => <code>{d.source?.path || d.source?.chart || "–"}</code> },
  { id: "revision", title: "Revision", width: "150px", cell: (d) => <Revision revision={d.revision} /> },
  { id: "changed", title: "Changed", width: "84px", end: true, cell: (d) => <TimeAgo time={d.changed} /> },
];

// Readers are the deliveries that take what the source has.
export function Readers({ readers, source }: { readers: readonly Delivery[]; source: Source }) {
  if (readers.length === 0)
    return (
      <Panel>
        <Empty icon="deliveries" title="Nothing reads it">
          <p>{source.readers > 0 ? `${source.readers} deliveries read it, none of which you may see.` : "No delivery names this source."}</p>
        </Empty>
      </Panel>
    );
  return (
    <div className={styles.readers}>
      <VirtualTable
        label="Deliveries that read this source"
        columns={columns}
        count={readers.length}
        slotAt={(index) => ({ kind: "row", key: keyOf(readers[index]!.ref), row: readers[index]! })}
        href={(d) => deliveryPath(d.ref!)}
        rowHeight={38}
        compactHeight={58}
        compact={(d) => (
          <span className={styles.compact}>
            <span><HealthMark state={d.health?.state} /><strong className="cut">{d.ref!.name}</strong></span>
            <span className="quiet">{d.ref!.kind} · {d.ref!.namespace} · {d.sync}</span>
          </span>
        )}
      />
    </div>
  );
}
