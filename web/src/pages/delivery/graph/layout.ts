// Where items stand: a column for each generation from left to right, every
// branch in rows of its own, and a parent level with its first child.
//
// It is a layout of our own because it has to be stable and quick. What a branch
// contains moves only what is below it, never what is above, and states move
// nothing. It takes one pass: 2,000 nodes are a millisecond, where the general
// layering of dagre takes seconds and may change the order of neighbours.
import type { Item, Shape } from "./shape";

export const cardWidth = 236;
export const cardHeight = 46;
export const groupHeight = 40;
const columnGap = 52;
const rowGap = 10;
const branchGap = 8; // more room after a branch than after a leaf

export interface Box {
  x: number;
  y: number;
  width: number;
  height: number;
}

export interface Layout {
  boxes: ReadonlyMap<string, Box>;
  width: number;
  height: number;
}

export function layoutOf(shape: Pick<Shape, "roots">): Layout {
  const boxes = new Map<string, Box>();
  let width = 0;
  const place = (item: Item, top: number): number => {
    // A group is lower than a card, and level with it all the same.
    const height = item.group ? groupHeight : cardHeight;
    const box = { x: item.depth * (cardWidth + columnGap), y: top + (cardHeight - height) / 2, width: cardWidth, height };
    boxes.set(item.id, box);
    width = Math.max(width, box.x + box.width);
    let bottom = top;
    for (const child of item.children) bottom = place(child, bottom);
    const own = top + cardHeight + rowGap;
    return item.children.length > 1 ? Math.max(own, bottom + branchGap) : Math.max(own, bottom);
  };
  let bottom = 0;
  for (const root of shape.roots) bottom = place(root, bottom);
  return { boxes, width, height: Math.max(0, bottom - rowGap) };
}

// edgePath leads from a parent to a child: straight where they are level, else
// down a trunk that all children share.
export function edgePath(from: Box, to: Box): string {
  const x1 = from.x + from.width;
  const y1 = from.y + from.height / 2;
  const y2 = to.y + to.height / 2;
  if (Math.abs(y2 - y1) < 1) return `M${x1} ${y1}H${to.x}`;
  const trunk = to.x - columnGap / 2;
  const bend = Math.min(8, Math.abs(y2 - y1) / 2);
  const way = y2 > y1 ? 1 : -1;
  return `M${x1} ${y1}H${trunk - bend}Q${trunk} ${y1} ${trunk} ${y1 + way * bend}V${y2 - way * bend}Q${trunk} ${y2} ${trunk + bend} ${y2}H${to.x}`;
}

// curvePath is for edges besides the tree, which may go any way.
export function curvePath(from: Box, to: Box): string {
  const [x1, y1, x2, y2] = [from.x + from.width, from.y + from.height / 2, to.x, to.y + to.height / 2];
  const pull = Math.max(40, Math.abs(x2 - x1) / 2);
  return `M${x1} ${y1}C${x1 + pull} ${y1} ${x2 - pull} ${y2} ${x2} ${y2}`;
}
