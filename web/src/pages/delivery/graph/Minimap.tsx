import { useMemo, type PointerEvent } from "react";
import type { Camera, Frame } from "./camera";
import { toneOf } from "./Card";
import { boxPaths } from "./drawing";
import type { Layout } from "./layout";
import type { Shape } from "./shape";
import styles from "./Graph.module.css";

const width = 104;
const tallest = 220;

// Minimap shows all of a graph that is larger than the window, and where one is in
// it. It is for the mouse alone: the keyboard has the graph itself, and the list.
export function Minimap({ shape, layout, camera, frame, onMove }: { shape: Shape; layout: Layout; camera: Camera; frame: Frame; onMove: (x: number, y: number) => void }) {
  const height = Math.min(tallest, Math.max(48, (layout.height * width) / Math.max(1, layout.width)));
  const scale = useMemo(() => ({ x: width / Math.max(1, layout.width), y: height / Math.max(1, layout.height) }), [layout, height]);
  const paths = useMemo(() => boxPaths(shape.items, layout, toneOf, scale, (tone) => (tone === "good" ? 0.8 : 2.4)), [shape, layout, scale]);
  const whole = layout.width * camera.zoom <= frame.width && layout.height * camera.zoom <= frame.height;
  if (whole || frame.width < 640) return null;
  const move = (event: PointerEvent<SVGSVGElement>) => {
    if (event.buttons === 0) return;
    event.stopPropagation();
    const box = event.currentTarget.getBoundingClientRect();
    onMove((event.clientX - box.left) / scale.x, (event.clientY - box.top) / scale.y);
  };
  return (
    <svg className={styles.minimap} data-still="" width={width} height={height} aria-hidden="true" onPointerDown={move} onPointerMove={move}>
      {paths.map(([tone, path]) => <path key={tone} d={path} data-tone={tone} />)}
      <rect
        x={(-camera.x / camera.zoom) * scale.x}
        y={(-camera.y / camera.zoom) * scale.y}
        width={Math.max(6, ((frame.width - frame.right) / camera.zoom) * scale.x)}
        height={Math.max(6, (frame.height / camera.zoom) * scale.y)}
        rx="2"
      />
    </svg>
  );
}
