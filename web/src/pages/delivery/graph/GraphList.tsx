// The same objects as rows: for screen readers, for phones, and for who likes lists.
import { useCallback, useMemo } from "react";
import { HealthBadge, HealthMark, SyncBadge, SyncMark } from "~/parts/state/State";
import { TimeAgo } from "~/parts/time/TimeAgo";
import { VirtualTable, type Column } from "~/parts/table/VirtualTable";
import { wordsOf } from "./Card";
import { healthOf, type Item, type Shape } from "./shape";
import styles from "./Graph.module.css";

const columns: Column<Item>[] = [
  { id: "name", title: "Object", width: "minmax(260px, 3fr)", cell: (item) => <Name item={item} /> },
  { id: "kind", title: "Kind", width: "minmax(110px, 1fr)", cell: (item) => <span className="quiet">{item.node?.object?.kind}</span> },
  { id: "health", title: "Health", width: "128px", cell: (item) => <HealthBadge health={{ state: healthOf(item.node!), message: item.node!.health?.message ?? "" }} /> },
  { id: "sync", title: "Sync", width: "118px", cell: (item) => item.node?.sync && <SyncBadge sync={item.node.sync} /> },
  { id: "info", title: "Facts", width: "minmax(140px, 1.6fr)", cell: (item) => <span className="quiet">{item.node?.info.join(" · ")}</span> },
  { id: "age", title: "Age", width: "64px", end: true, cell: (item) => <TimeAgo time={item.node?.created} /> },
];

export function GraphList({ shape, hrefOf }: { shape: Shape; hrefOf: (item: Item) => string }) {
  const rows = useMemo(() => shape.items.filter((item) => item.node), [shape]);
  const slotAt = useCallback((i: number) => ({ kind: "row" as const, key: rows[i]!.id, row: rows[i]! }), [rows]);
  return <VirtualTable label="Objects, each below what it belongs to" columns={columns} count={rows.length} slotAt={slotAt} href={hrefOf} rowHeight={36} compactHeight={56} compact={(item) => <Compact item={item} />} dim={(item) => item.context} version={rows} />;
}

function Name({ item }: { item: Item }) {
  return (
    <span className={styles.row}>
      {item.depth > 0 && <span className={styles.indent} style={{ width: item.depth * 18 }} />}
      <span className="unseen">Level {item.depth + 1}: </span>
      <span className="cut" title={wordsOf(item)}>{item.node!.object!.name}</span>
    </span>
  );
}

function Compact({ item }: { item: Item }) {
  const { object, info, sync } = item.node!;
  return (
    <span className={styles.compact}>
      {item.depth > 0 && <span className={styles.indent} style={{ width: item.depth * 10 }} />}
      <HealthMark state={healthOf(item.node!)} />
      <span className={styles.compactWords}>
        <span className="cut">{object!.name}</span>
        <span className="cut quiet">{[object!.kind, ...info].join(" · ")}</span>
      </span>
      {sync === "OutOfSync" && <SyncMark state={sync} />}
    </span>
  );
}
