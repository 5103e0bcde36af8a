// Many boxes and lines in a few paths: what is too small to read costs nothing.
import type { Tone } from "~/parts/state/marks";
import { edgePath, type Box, type Layout } from "./layout";
import { overlaps } from "./camera";
import type { Item, Shape } from "./shape";

// boxPaths has one path for all the boxes of a tone, scaled, and at least as
// large as can be seen.
export function boxPaths(items: readonly Item[], layout: Layout, toneOf: (item: Item) => Tone, scale = { x: 1, y: 1 }, least: (tone: Tone) => number = () => 0): [Tone, string][] {
  const paths = new Map<Tone, string>();
  for (const item of items) {
    const box = layout.boxes.get(item.id)!;
    const tone = toneOf(item);
    const height = Math.max(least(tone), box.height * scale.y);
    const path = `M${round(box.x * scale.x)} ${round(box.y * scale.y)}h${round(box.width * scale.x)}v${round(height)}h${-round(box.width * scale.x)}z`;
    paths.set(tone, (paths.get(tone) ?? "") + path);
  }
  // What is wrong is drawn last, above the rest.
  const order: Tone[] = ["good", "idle", "busy", "warn", "bad"];
  return [...paths].sort((a, b) => order.indexOf(a[0]) - order.indexOf(b[0]));
}

// edgesPath has all lines of the tree that cross what is seen.
export function edgesPath(shape: Pick<Shape, "items">, layout: Layout, seen?: Box): string {
  let path = "";
  for (const item of shape.items) {
    if (!item.parent) continue;
    const from = layout.boxes.get(item.parent.id)!;
    const to = layout.boxes.get(item.id)!;
    if (!seen || overlaps(between(from, to), seen)) path += edgePath(from, to);
  }
  return path;
}

function between(a: Box, b: Box): Box {
  const [x, y] = [Math.min(a.x, b.x), Math.min(a.y, b.y)];
  return { x, y, width: Math.max(a.x + a.width, b.x + b.width) - x, height: Math.max(a.y + a.height, b.y + b.height) - y };
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}
