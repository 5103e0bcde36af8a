// Walking through the graph by keyboard.
import type { Layout } from "./layout";
import type { Shape } from "./shape";

export type Step = "ArrowRight" | "ArrowLeft" | "ArrowDown" | "ArrowUp" | "Home" | "End";

export function isStep(key: string): key is Step {
  return key === "ArrowRight" || key === "ArrowLeft" || key === "ArrowDown" || key === "ArrowUp" || key === "Home" || key === "End";
}

// walk says where a step leads: right to the first child, left to the parent, up
// and down within the column; it stays where there is nothing.
export function walk(shape: Pick<Shape, "items" | "byId">, layout: Layout, from: string, step: Step): string {
  const item = shape.byId.get(from);
  if (!item) return shape.items[0]?.id ?? from;
  if (step === "Home") return shape.items[0]!.id;
  if (step === "ArrowRight") return item.children[0]?.id ?? nearest(shape, layout, item.depth + 1, from) ?? from;
  if (step === "ArrowLeft") return item.parent?.id ?? from;
  const column = shape.items.filter((other) => other.depth === item.depth);
  const at = column.indexOf(item);
  if (step === "End") return column.at(-1)!.id;
  return column[at + (step === "ArrowDown" ? 1 : -1)]?.id ?? from;
}

function nearest(shape: Pick<Shape, "items">, layout: Layout, depth: number, from: string): string | undefined {
  const y = layout.boxes.get(from)?.y ?? 0;
  let best: { id: string; distance: number } | undefined;
  for (const item of shape.items) {
    if (item.depth !== depth) continue;
    const distance = Math.abs(layout.boxes.get(item.id)!.y - y);
    if (!best || distance < best.distance) best = { id: item.id, distance };
  }
  return best?.id;
}
