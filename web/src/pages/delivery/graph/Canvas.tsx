// The drawing of the graph. Cards are HTML and rendered only where they are seen;
// from far away all boxes are a handful of paths.
import { useCallback, useEffect, useMemo, useRef, useState, type KeyboardEvent, type MouseEvent } from "react";
import { useKeys } from "~/app/keys";
import { IconButton } from "~/parts/button/Button";
import { legible, overlaps, tiles, type Camera, type Frame } from "./camera";
import { Card, toneOf } from "./Card";
import { boxPaths, edgesPath } from "./drawing";
import { curvePath, layoutOf, type Layout } from "./layout";
import { Minimap } from "./Minimap";
import type { Item, Shape } from "./shape";
import { useCamera } from "./useCamera";
import { isStep, walk } from "./walk";
import styles from "./Graph.module.css";

export interface CanvasProps {
  shape: Shape;
  chosen: string; // "" for none
  covered: number; // pixels on the right that something else covers
  onOpen: (item: Item, byKeyboard: boolean) => void;
}

export function Canvas({ shape, chosen, covered, onOpen }: CanvasProps) {
  const element = useRef<HTMLDivElement>(null);
  const [active, setActive] = useState("");
  const layout = useMemo(() => layoutOf(shape), [shape]);
  const focused = shape.byId.has(active) ? active : shape.byId.has(chosen) ? chosen : (shape.items[0]?.id ?? "");
  const hands = useCamera(element, layout, covered, focused);
  const { camera, frame, ready, reveal } = hands;
  const far = camera.zoom < legible;

  useEffect(() => {
    if (ready && chosen) reveal(chosen);
  }, [ready, chosen, covered, reveal]);

  // A card that is only rendered after moving there gets the focus then.
  const wanted = useRef("");
  useEffect(() => {
    if (!wanted.current) return;
    const card = element.current?.querySelector<HTMLElement>(`[data-item="${CSS.escape(wanted.current)}"]`);
    if (card) {
      card.focus({ preventScroll: true });
      wanted.current = "";
    }
  });

  const open = useCallback((item: Item, event: { detail: number }) => onOpen(item, event.detail === 0), [onOpen]);
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.altKey || event.ctrlKey || event.metaKey || !isStep(event.key)) return;
    event.preventDefault();
    const next = walk(shape, layout, focused, event.key);
    wanted.current = next;
    setActive(next);
    reveal(next);
  };
  useKeys("Graph", [
    { keys: "+", label: "Larger", run: () => hands.zoom(1.25) },
    { keys: "-", label: "Smaller", run: () => hands.zoom(0.8) },
    { keys: "f", label: "Fit the graph into the window", run: hands.fit },
  ]);

  // From far away, a click goes where one points.
  const onClick = (event: MouseEvent) => {
    if (!far || (event.target as HTMLElement).closest("button, [data-still]")) return;
    const box = element.current!.getBoundingClientRect();
    const [x, y] = [(event.clientX - box.left - camera.x) / camera.zoom, (event.clientY - box.top - camera.y) / camera.zoom];
    const hit = shape.items.find((item) => overlaps(layout.boxes.get(item.id)!, { x: x - 8, y: y - 8, width: 16, height: 16 }));
    if (!hit) return;
    setActive(hit.id);
    reveal(hit.id);
  };

  return (
    <div ref={element} className={styles.canvas} data-graph="" data-moving={hands.moving || undefined} role="group" aria-label="Graph of objects. Arrow keys walk through it." onKeyDown={onKeyDown} onClick={onClick} {...hands.on}>
      <div className={styles.world} style={{ transform: `translate(${camera.x}px, ${camera.y}px) scale(${camera.zoom})`, visibility: ready ? undefined : "hidden" }}>
        <Edges shape={shape} layout={layout} camera={camera} frame={frame} far={far} />
        {far && <FarBoxes shape={shape} layout={layout} />}
        <Cards shape={shape} layout={layout} camera={camera} frame={frame} far={far} focused={focused} chosen={chosen} onPress={open} onFocus={setActive} />
      </div>
      <Minimap shape={shape} layout={layout} camera={camera} frame={frame} onMove={hands.centre} />
      <div className={styles.tools} data-still="" style={{ right: covered + 12 }}>
        <IconButton size="s" icon="minus" label="Smaller" keys="-" onPress={() => hands.zoom(0.8)} />
        <span className={styles.zoom} aria-live="off">{Math.round(camera.zoom * 100)}%</span>
        <IconButton size="s" icon="plus" label="Larger" keys="+" onPress={() => hands.zoom(1.25)} />
        <IconButton size="s" icon="fit" label="Fit" keys="f" onPress={hands.fit} />
      </div>
    </div>
  );
}

interface Seen {
  shape: Shape;
  layout: Layout;
  camera: Camera;
  frame: Frame;
  far: boolean;
}

function useSeen(camera: Camera, frame: Frame) {
  const { x, y, width, height } = tiles(camera, frame);
  return useMemo(() => ({ x, y, width, height }), [x, y, width, height]);
}

function Cards({ shape, layout, camera, frame, far, focused, chosen, onPress, onFocus }: Seen & { focused: string; chosen: string; onPress: (item: Item, event: { detail: number }) => void; onFocus: (id: string) => void }) {
  const seen = useSeen(camera, frame);
  const items = useMemo(
    () => shape.items.filter((item) => item.id === focused || item.id === chosen || (!far && overlaps(layout.boxes.get(item.id)!, seen))),
    [shape, layout, seen, far, focused, chosen],
  );
  return items.map((item) => <Card key={item.id} item={item} box={layout.boxes.get(item.id)!} active={item.id === focused} chosen={item.id === chosen} onPress={onPress} onFocus={onFocus} />);
}

function Edges({ shape, layout, camera, frame, far }: Seen) {
  const seen = useSeen(camera, frame);
  const path = useMemo(() => edgesPath(shape, layout, far ? undefined : seen), [shape, layout, far, far ? null : seen]);
  const curves = useMemo(() => shape.extra.map(([from, to]) => curvePath(layout.boxes.get(from)!, layout.boxes.get(to)!)).join(""), [shape, layout]);
  return (
    <svg className={styles.edges} width={Math.max(1, layout.width)} height={Math.max(1, layout.height)} aria-hidden="true">
      <path d={path} strokeWidth={far ? 3 : 1.25} />
      {curves && <path d={curves} strokeDasharray="4 4" strokeWidth={far ? 3 : 1.25} />}
    </svg>
  );
}

function FarBoxes({ shape, layout }: Pick<Seen, "shape" | "layout">) {
  const paths = useMemo(() => boxPaths(shape.items, layout, toneOf), [shape, layout]);
  return (
    <svg className={styles.boxes} width={Math.max(1, layout.width)} height={Math.max(1, layout.height)} aria-hidden="true">
      {paths.map(([tone, path]) => <path key={tone} d={path} data-tone={tone} />)}
    </svg>
  );
}
