// The camera in the hands of a mouse, of fingers, and of buttons.
import { useCallback, useEffect, useLayoutEffect, useRef, useState, type PointerEvent, type RefObject } from "react";
import { begun, bounded, fitted, held, overlaps, revealed, tiles, zoomedAt, type Camera, type Frame } from "./camera";
import type { Layout } from "./layout";

const dragFrom = 4; // pixels; less is a click

export interface Hands {
  camera: Camera;
  frame: Frame;
  ready: boolean;
  moving: boolean; // by hand: nothing is animated then
  zoom: (factor: number) => void;
  fit: () => void;
  reveal: (id: string) => void;
  centre: (x: number, y: number) => void; // of the graph
  on: { onPointerDown: (e: PointerEvent) => void; onPointerMove: (e: PointerEvent) => void; onPointerUp: (e: PointerEvent) => void; onPointerCancel: (e: PointerEvent) => void; onClickCapture: (e: { stopPropagation: () => void; preventDefault: () => void }) => void };
}

export function useCamera(element: RefObject<HTMLElement | null>, layout: Layout, covered: number, anchor: string): Hands {
  const [camera, setCamera] = useState<Camera>({ x: 24, y: 24, zoom: 1 });
  const [size, setSize] = useState({ width: 0, height: 0 });
  const [moving, setMoving] = useState(false);
  const frame: Frame = { ...size, right: covered };
  const now = useRef({ layout, frame });
  now.current = { layout, frame };
  const ready = size.width > 0 && layout.boxes.size > 0;
  const move = useCallback((to: (camera: Camera) => Camera) => setCamera((camera) => bounded(to(camera), now.current.layout, now.current.frame)), []);

  useLayoutEffect(() => {
    const measure = () => element.current && setSize({ width: element.current.clientWidth, height: element.current.clientHeight });
    measure();
    const observer = new ResizeObserver(measure);
    if (element.current) observer.observe(element.current);
    return () => observer.disconnect();
  }, [element]);

  // At first it shows the beginning; afterwards what one looks at stays where it is.
  const before = useRef<Layout>(undefined);
  useLayoutEffect(() => {
    if (!ready) return;
    const last = before.current;
    before.current = layout;
    if (!last) return setCamera(begun(layout, now.current.frame));
    if (last === layout) return;
    setCamera((camera) => {
      const view = tiles(camera, now.current.frame, 1);
      const seen = (id: string) => overlaps(last.boxes.get(id)!, view) && layout.boxes.has(id);
      const kept = last.boxes.has(anchor) && seen(anchor) ? anchor : [...last.boxes.keys()].find(seen);
      return bounded(kept === undefined ? camera : held(camera, last.boxes.get(kept)!, layout.boxes.get(kept)!), layout, now.current.frame);
    });
  }, [ready, layout]);

  useEffect(() => {
    const canvas = element.current;
    const onWheel = (event: WheelEvent) => {
      event.preventDefault();
      const box = canvas!.getBoundingClientRect();
      const lines = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? 16 : 1;
      if (event.ctrlKey || event.metaKey) move((c) => zoomedAt(c, Math.exp(-event.deltaY * lines * 0.004), { x: event.clientX - box.left, y: event.clientY - box.top }));
      else if (event.shiftKey && event.deltaX === 0) move((c) => ({ ...c, x: c.x - event.deltaY * lines }));
      else move((c) => ({ ...c, x: c.x - event.deltaX * lines, y: c.y - event.deltaY * lines }));
    };
    canvas?.addEventListener("wheel", onWheel, { passive: false });
    return () => canvas?.removeEventListener("wheel", onWheel);
  }, [element, move]);

  const fingers = useRef(new Map<number, { x: number; y: number }>());
  const dragged = useRef(false);
  const from = useRef({ x: 0, y: 0 });
  const point = (event: PointerEvent) => {
    const box = element.current!.getBoundingClientRect();
    return { x: event.clientX - box.left, y: event.clientY - box.top };
  };
  const up = (event: PointerEvent) => {
    fingers.current.delete(event.pointerId);
    if (fingers.current.size === 0) setMoving(false);
  };

  return {
    camera,
    frame,
    ready,
    moving,
    zoom: useCallback((factor: number) => move((c) => zoomedAt(c, factor, { x: (now.current.frame.width - now.current.frame.right) / 2, y: now.current.frame.height / 2 })), [move]),
    fit: useCallback(() => setCamera(fitted(now.current.layout, now.current.frame)), []),
    reveal: useCallback((id: string) => {
      const box = now.current.layout.boxes.get(id);
      if (box) setCamera((c) => revealed(c, box, now.current.frame));
    }, []),
    centre: useCallback((x: number, y: number) => move((c) => ({ ...c, x: (now.current.frame.width - now.current.frame.right) / 2 - x * c.zoom, y: now.current.frame.height / 2 - y * c.zoom })), [move]),
    on: {
      onPointerDown(event) {
        if (event.button !== 0 && event.button !== 1) return;
        dragged.current = fingers.current.size > 0;
        from.current = point(event);
        fingers.current.set(event.pointerId, point(event));
      },
      onPointerMove(event) {
        const last = fingers.current.get(event.pointerId);
        if (!last) return;
        const at = point(event);
        if (!dragged.current && Math.hypot(at.x - from.current.x, at.y - from.current.y) < dragFrom) return;
        if (!dragged.current) {
          dragged.current = true;
          element.current?.setPointerCapture(event.pointerId);
          setMoving(true);
        }
        const other = [...fingers.current].find(([id]) => id !== event.pointerId)?.[1];
        fingers.current.set(event.pointerId, at);
        if (other) {
          const factor = Math.hypot(at.x - other.x, at.y - other.y) / Math.max(1, Math.hypot(last.x - other.x, last.y - other.y));
          move((c) => zoomedAt(c, factor, { x: (at.x + other.x) / 2, y: (at.y + other.y) / 2 }));
        } else move((c) => ({ ...c, x: c.x + at.x - last.x, y: c.y + at.y - last.y }));
      },
      onPointerUp: up,
      onPointerCancel: up,
      // The end of a drag is no click.
      onClickCapture(event) {
        if (!dragged.current) return;
        dragged.current = false;
        event.stopPropagation();
        event.preventDefault();
      },
    },
  };
}
