import { useVirtualizer } from "@tanstack/react-virtual";
import { memo, useEffect, useLayoutEffect, useMemo, useRef, useState, type ReactNode } from "react";
import { keyOf } from "~/api/refs";
import type { Delivery } from "~/gen/plumb/v1/deliveries_pb";
import { Icon } from "~/parts/icon/Icon";
import { Bone } from "~/parts/states/States";
import { healthMark } from "~/parts/state/marks";
import { Tile } from "./columns";
import type { DeliveryList, Segment } from "./list";
import type { Selection } from "./useSelection";
import styles from "./Tiles.module.css";

type Line = { kind: "group"; segment: Segment } | { kind: "tiles"; segment: Segment; from: number };

// Tiles shows the list as cards, as many beside each other as there is room for.
export function Tiles({ list, segments, grouped, selection, titleOf }: { list: DeliveryList; segments: readonly Segment[]; grouped: boolean; selection: Selection; titleOf: (segment: Segment) => ReactNode }) {
  const scroller = useRef<HTMLDivElement>(null);
  const [across, setAcross] = useState(4);
  useLayoutEffect(() => {
    const observer = new ResizeObserver(([entry]) => setAcross(Math.max(1, Math.floor(entry!.contentRect.width / 252))));
    observer.observe(scroller.current!);
    return () => observer.disconnect();
  }, []);

  const lines = useMemo(() => {
    const lines: Line[] = [];
    for (const segment of segments) {
      if (grouped) lines.push({ kind: "group", segment });
      for (let from = 0; segment.open && from < segment.total; from += across) lines.push({ kind: "tiles", segment, from });
    }
    return lines;
  }, [segments, grouped, across]);

  const virtualizer = useVirtualizer({ count: lines.length, getScrollElement: () => scroller.current, estimateSize: (i) => (lines[i]!.kind === "group" ? 42 : 134), overscan: 3 });
  useEffect(() => void virtualizer.measure(), [lines, virtualizer]);
  const items = virtualizer.getVirtualItems();
  useEffect(() => {
    for (const item of items) {
      const line = lines[item.index];
      if (line?.kind === "tiles") list.see(line.segment, line.from, Math.min(line.segment.total, line.from + across) - 1);
    }
  }, [items, lines, list, across]);

  return (
    <div ref={scroller} className={styles.scroller}>
      <div className={styles.lines} style={{ height: virtualizer.getTotalSize() }} role="list" aria-label="Deliveries">
        {items.map((item) => {
          const line = lines[item.index];
          if (!line) return null;
          const style = { transform: `translateY(${item.start}px)` };
          if (line.kind === "group")
            return (
              <button key={item.key} type="button" className={styles.group} style={style} aria-expanded={line.segment.open} onClick={() => list.toggle(line.segment)}>
                <Icon name="right" size={14} />
                {titleOf(line.segment)}
              </button>
            );
          return (
            <div key={item.key} className={styles.tiles} style={{ ...style, gridTemplateColumns: `repeat(${across}, minmax(0, 1fr))` }} role="presentation">
              {Array.from({ length: Math.min(across, line.segment.total - line.from) }, (_, i) => {
                const row = line.segment.rows[line.from + i];
                return <Card key={i} delivery={row} selected={!!row && selection.has(keyOf(row.ref))} gone={!!row && list.isGone(row)} onPick={selection.pick} />;
              })}
            </div>
          );
        })}
      </div>
    </div>
  );
}

const Card = memo(function Card({ delivery, selected, gone, onPick }: { delivery: Delivery | undefined; selected: boolean; gone: boolean; onPick: Selection["pick"] }) {
  if (!delivery) return <div className={styles.tile} role="listitem" aria-busy="true"><Bone width="70%" /><Bone width="45%" /></div>;
  return (
    <div className={styles.tile} role="listitem" data-tone={healthMark(delivery.health?.state).tone} data-selected={selected || undefined} data-dim={gone || undefined}>
      <Tile delivery={delivery} />
      <input type="checkbox" className={styles.pick} checked={selected} aria-label={`Select ${delivery.ref!.name}`} onChange={() => onPick(delivery.ref!)} />
    </div>
  );
});
