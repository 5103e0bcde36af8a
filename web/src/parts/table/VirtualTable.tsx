// A list of any length: only what is seen is rendered, and rows that have not
// come from the server yet are skeletons of the right size.
import { useVirtualizer } from "@tanstack/react-virtual";
import { memo, useCallback, useEffect, useImperativeHandle, useLayoutEffect, useMemo, useRef, useState, type KeyboardEvent, type MouseEvent, type ReactNode, type Ref, type RefObject } from "react";
import { useLocation } from "wouter";
import { Icon } from "../icon/Icon";
import { useNarrow } from "./useNarrow";
import { Bone } from "../states/States";
import styles from "./VirtualTable.module.css";

export interface Column<T> {
  id: string;
  title: string;
  width: string; // a grid track, such as "minmax(160px, 2fr)"
  cell: (row: T) => ReactNode;
  order?: string; // the field of the server's order; not set: it cannot be ordered by
  end?: boolean; // numbers stand at the end
  spare?: number; // left out where there is no room: the highest first
}

export type Slot<T> =
  | { kind: "row"; key: string; row: T }
  | { kind: "group"; key: string; title: ReactNode; open: boolean; onToggle: () => void }
  | { kind: "wait"; key: string };

export interface RowSelection {
  has: (key: string) => boolean;
  // range: from the row chosen last to this one.
  toggle: (index: number, key: string, range: boolean) => void;
}

export interface VirtualTableProps<T> {
  label: string;
  columns: readonly Column<T>[];
  count: number;
  waiting?: boolean; // nothing is known yet: rows are hinted at
  slotAt: (index: number) => Slot<T>;
  onRange?: (first: number, last: number) => void; // what is about to be seen
  href?: (row: T) => string | undefined;
  order?: string;
  onOrder?: (order: string) => void;
  selection?: RowSelection;
  compact: (row: T) => ReactNode; // one row on a phone
  compactHeight?: number;
  rowHeight?: number;
  dim?: (row: T) => boolean; // rows that are gone
  // Not set where there are no groups; else something that is another when they
  // stand elsewhere.
  groups?: unknown;
  version?: unknown; // anything besides row whose change makes cells look different
  remember?: string; // under which name to come back to where it was scrolled to
  ref?: Ref<TableHandle>;
}

export interface TableHandle {
  focus: (step?: number) => void;
  toTop: () => void;
}

const offsets = new Map<string, number>();
const pickWidth = 36;
const groupHeight = 36;

function leastWidth(column: { width: string }): number {
  return Number.parseFloat(/\d+/.exec(column.width)?.[0] ?? "0");
}

// fitting leaves out spare columns until the rest has room.
function fitting<T>(columns: readonly Column<T>[], width: number): readonly Column<T>[] {
  const shown = [...columns];
  const bySpare = columns.filter((c) => c.spare).sort((a, b) => b.spare! - a.spare!);
  for (const column of bySpare) {
    if (width <= 0 || shown.reduce((sum, c) => sum + leastWidth(c), 0) <= width) break;
    shown.splice(shown.indexOf(column), 1);
  }
  return shown;
}

function useWidth(element: RefObject<HTMLElement | null>): number {
  const [width, setWidth] = useState(0);
  useLayoutEffect(() => {
    setWidth(element.current!.clientWidth);
    const observer = new ResizeObserver(([entry]) => setWidth(entry!.contentRect.width));
    observer.observe(element.current!);
    return () => observer.disconnect();
  }, [element]);
  return width;
}

export function VirtualTable<T>(props: VirtualTableProps<T>) {
  const { label, columns: asked, count, slotAt, onRange, href, order = "", onOrder, selection, compact, compactHeight = 76, rowHeight = 42, dim, ref } = props;
  const narrow = useNarrow();
  const scroller = useRef<HTMLDivElement>(null);
  const [active, setActive] = useState(0);
  const wanted = useRef<number | null>(null);
  const [, navigate] = useLocation();
  const height = narrow ? compactHeight : rowHeight;
  const grouped = props.groups !== undefined;
  const width = useWidth(scroller);
  const columns = useMemo(() => fitting(asked, width - (selection ? pickWidth : 0)), [asked, width, !selection]);

  const [offset] = useState(() => (props.remember && offsets.get(props.remember)) || 0);
  const virtualizer = useVirtualizer({
    initialOffset: offset,
    count,
    getScrollElement: () => scroller.current,
    estimateSize: (index) => (grouped && slotAt(index).kind === "group" ? groupHeight : height),
    overscan: 6,
    // Rows come with the next frame, together with what else changed.
    useFlushSync: false,
    getItemKey: useCallback((index: number) => index, []),
  });
  useLayoutEffect(() => void virtualizer.measure(), [height, virtualizer, props.groups]);
  const items = virtualizer.getVirtualItems();
  const first = items[0]?.index ?? 0;
  const last = items.at(-1)?.index ?? 0;
  useEffect(() => void onRange?.(first, last), [onRange, first, last, count]);

  const remember = props.remember;
  useLayoutEffect(() => {
    const element = scroller.current!;
    if (offset > 0) element.scrollTop = offset;
    return () => void (remember && offsets.set(remember, element.scrollTop));
  }, [offset, remember]);

  const focusRow = (index: number) => {
    const next = Math.max(0, Math.min(count - 1, index));
    setActive(next);
    virtualizer.scrollToIndex(next);
    wanted.current = next;
    scroller.current?.querySelector<HTMLElement>(`[data-index="${next}"]`)?.focus({ preventScroll: true });
  };
  // A row that is only rendered after scrolling gets the focus then.
  useEffect(() => {
    if (wanted.current === null) return;
    const row = scroller.current?.querySelector<HTMLElement>(`[data-index="${wanted.current}"]`);
    if (row && document.activeElement !== row) row.focus({ preventScroll: true });
    wanted.current = null;
  });
  useImperativeHandle(ref, () => ({ focus: (step = 0) => focusRow(active + step), toTop: () => scroller.current?.scrollTo({ top: 0 }) }));

  const open = useCallback(
    (row: T, apart: boolean) => {
      const path = href?.(row);
      if (!path) return;
      if (apart) window.open(path, "_blank", "noopener");
      else navigate(path);
    },
    [href, navigate],
  );

  const onKeyDown = (event: KeyboardEvent) => {
    if ((event.target as HTMLElement).closest("input, textarea, [role=menu]")) return;
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const page = Math.max(1, Math.floor((scroller.current?.clientHeight ?? 400) / height) - 2);
    const to: Record<string, number> = { ArrowDown: active + 1, j: active + 1, ArrowUp: active - 1, k: active - 1, PageDown: active + page, PageUp: active - page, Home: 0, End: count - 1 };
    const slot = count > 0 ? slotAt(active) : undefined;
    if (event.key in to) focusRow(to[event.key]!);
    else if (event.key === "Enter" && slot?.kind === "row" && (event.target as HTMLElement).role === "row") open(slot.row, false);
    else if (slot?.kind === "group" && ["Enter", "ArrowRight", "ArrowLeft", " "].includes(event.key)) slot.onToggle();
    else if ((event.key === "x" || event.key === " ") && slot?.kind === "row" && selection) selection.toggle(active, slot.key, event.shiftKey);
    else return;
    event.preventDefault();
    event.stopPropagation();
  };

  const tracks = (selection ? `${pickWidth}px ` : "") + columns.map((c) => c.width).join(" ");
  // Where columns need more room than there is, all of the table scrolls sideways.
  const least = columns.reduce((sum, c) => sum + leastWidth(c), selection ? pickWidth : 0);
  return (
    <div className={styles.table} data-narrow={narrow || undefined} role={grouped ? "treegrid" : "grid"} aria-label={label} aria-rowcount={count + 1} aria-multiselectable={selection ? true : undefined} onKeyDown={onKeyDown}>
      <div ref={scroller} className={styles.scroller}>
        <div className={narrow ? "unseen" : styles.head} role="row" aria-rowindex={1} style={narrow ? undefined : { gridTemplateColumns: tracks, minWidth: least }}>
          {selection && <span role="columnheader"><span className="unseen">Selected</span></span>}
          {columns.map((column) => <HeadCell key={column.id} column={column} order={order} onOrder={narrow ? undefined : onOrder} />)}
        </div>
        {props.waiting && <div className={styles.waiting} role="row" aria-busy="true" style={{ ["--height" as string]: `${height}px` }}><span role="gridcell" className="unseen">Loading</span></div>}
        <div role="rowgroup" className={styles.rows} style={{ height: virtualizer.getTotalSize(), minWidth: narrow ? undefined : least }}>
          {items.map((item) => {
            const slot = slotAt(item.index);
            const place = { index: item.index, start: item.start, height: item.size, active: item.index === active, tracks, narrow };
            if (slot.kind === "group") return <GroupRow key={item.key} slot={slot} onFocus={setActive} {...place} />;
            if (slot.kind === "wait") return <WaitRow key={item.key} columns={columns.length} selectable={!!selection} {...place} />;
            return (
              <Row key={item.key} row={slot.row} id={slot.key} columns={columns as readonly Column<unknown>[]} compact={compact as (row: unknown) => ReactNode} href={href?.(slot.row)} onOpen={open as (row: unknown, apart: boolean) => void} onFocus={setActive} selectable={!!selection} selected={selection?.has(slot.key) ?? false} onToggle={selection?.toggle} dim={dim?.(slot.row) ?? false} version={props.version} {...place} />
            );
          })}
        </div>
      </div>
    </div>
  );
}

function HeadCell<T>({ column, order, onOrder }: { column: Column<T>; order: string; onOrder?: (order: string) => void }) {
  const [field, way] = order.split(" ");
  const mine = column.order !== undefined && field === column.order;
  const sorted = mine ? (way === "desc" ? "descending" : "ascending") : undefined;
  // Upwards, downwards, and back to what the server thinks best.
  const next = !mine ? column.order! : way === "desc" ? "" : `${column.order} desc`;
  return (
    <span role="columnheader" aria-sort={sorted} className={column.end ? styles.end : undefined}>
      {column.order && onOrder ? (
        <button type="button" className={styles.sort} onClick={() => onOrder(next)}>
          {column.title}
          {sorted && <Icon name={sorted === "ascending" ? "arrowUp" : "arrowDown"} size={12} />}
        </button>
      ) : (
        column.title
      )}
    </span>
  );
}

interface Place {
  index: number;
  start: number;
  height: number;
  active: boolean;
  tracks: string;
  narrow: boolean;
}

interface RowProps extends Place {
  id: string;
  row: unknown;
  columns: readonly Column<unknown>[];
  compact: (row: unknown) => ReactNode;
  href: string | undefined;
  onOpen: (row: unknown, apart: boolean) => void;
  onFocus: (index: number) => void;
  selectable: boolean;
  selected: boolean;
  onToggle?: RowSelection["toggle"];
  dim: boolean;
  version: unknown; // read by memo alone
}

const Row = memo(function Row({ id, index, start, height, active, tracks, narrow, row, columns, compact, href, onOpen, onFocus, selectable, selected, onToggle, dim }: RowProps) {
  const click = (event: MouseEvent) => {
    const inside = (event.target as HTMLElement).closest("a, button, input, label");
    const apart = event.ctrlKey || event.metaKey || event.shiftKey;
    // The row's own link is a plain one, which is cheaper for thousands; other
    // links and buttons do what they do. Marking text opens nothing.
    if (inside?.hasAttribute("data-row-link") && !apart) event.preventDefault();
    else if (inside || window.getSelection()?.toString()) return;
    if (event.shiftKey && onToggle) onToggle(index, id, true);
    else onOpen(row, event.ctrlKey || event.metaKey);
  };
  return (
    <div role="row" data-index={index} aria-rowindex={index + 2} aria-selected={selectable ? selected : undefined} tabIndex={active ? 0 : -1} className={styles.row} data-link={href ? "" : undefined} data-dim={dim || undefined} style={{ transform: `translateY(${start}px)`, height, gridTemplateColumns: narrow ? undefined : tracks }} onClick={click} onFocus={() => onFocus(index)}>
      {selectable && (
        <span role="gridcell" className={styles.pick}>
          <input type="checkbox" tabIndex={-1} checked={selected} aria-label="Select" onChange={() => {}} onClick={(event) => onToggle?.(index, id, event.shiftKey)} />
        </span>
      )}
      {narrow ? (
        <span role="gridcell" className={styles.compact}>{compact(row)}</span>
      ) : (
        columns.map((column) => <span key={column.id} role="gridcell" className={column.end ? `${styles.cell} ${styles.end}` : styles.cell}>{column.cell(row)}</span>)
      )}
    </div>
  );
});

function GroupRow<T>({ slot, index, start, height, active, onFocus }: Place & { slot: Slot<T> & { kind: "group" }; onFocus: (index: number) => void }) {
  return (
    <div role="row" data-index={index} aria-rowindex={index + 2} aria-expanded={slot.open} tabIndex={active ? 0 : -1} className={styles.group} style={{ transform: `translateY(${start}px)`, height }} onClick={slot.onToggle} onFocus={() => onFocus(index)}>
      <span role="gridcell">
        <Icon name="right" size={14} />
        {slot.title}
      </span>
    </div>
  );
}

function WaitRow({ index, start, height, active, tracks, narrow, columns, selectable }: Place & { columns: number; selectable: boolean }) {
  return (
    <div role="row" data-index={index} aria-rowindex={index + 2} aria-busy="true" tabIndex={active ? 0 : -1} className={styles.row} style={{ transform: `translateY(${start}px)`, height, gridTemplateColumns: narrow ? undefined : tracks }}>
      {selectable && <span role="gridcell" />}
      {Array.from({ length: narrow ? 1 : columns }, (_, i) => <span key={i} role="gridcell" className={styles.cell}><Bone width={`${[64, 48, 72, 40, 56][(i + index) % 5]}%`} /></span>)}
    </div>
  );
}
