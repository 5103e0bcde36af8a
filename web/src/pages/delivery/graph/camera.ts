// What part of the graph is seen, and how large.
import type { Box, Layout } from "./layout";

export interface Camera {
  x: number; // of the graph's origin on the screen
  y: number;
  zoom: number;
}

export interface Frame {
  width: number;
  height: number;
  right: number; // that something else covers
}

export const smallest = 0.06;
export const largest = 1.6;
// Below this, words cannot be read, and boxes are drawn without them.
export const legible = 0.45;
// What is larger than this shows when it is fitted is cut: it would be a thread.
const fittedLeast = 0.2;
const margin = 24;
const tools = 64; // at the bottom, kept free of what is walked to

export function clampZoom(zoom: number): number {
  return Math.min(largest, Math.max(smallest, zoom));
}

// zoomedAt keeps what is below a point of the screen there.
export function zoomedAt(camera: Camera, factor: number, at: { x: number; y: number }): Camera {
  const zoom = clampZoom(camera.zoom * factor);
  const by = zoom / camera.zoom;
  return { zoom, x: at.x - (at.x - camera.x) * by, y: at.y - (at.y - camera.y) * by };
}

// fitted shows all of it, or as much as can be told apart.
export function fitted(layout: Layout, frame: Frame): Camera {
  const width = Math.max(1, frame.width - frame.right - 2 * margin);
  const height = Math.max(1, frame.height - 2 * margin);
  const zoom = Math.max(fittedLeast, Math.min(1, width / Math.max(1, layout.width), height / Math.max(1, layout.height)));
  return { zoom, x: margin + (width - layout.width * zoom) / 2, y: margin + Math.max(0, (height - layout.height * zoom) / 2) };
}

// begun is where one begins to look: all of it where it can be read, else the
// beginning of it.
export function begun(layout: Layout, frame: Frame): Camera {
  const all = fitted(layout, frame);
  if (all.zoom >= 0.85) return all.zoom === 1 ? { ...all, y: Math.min(all.y, margin + 40) } : all;
  const zoom = Math.min(1, Math.max(0.8, (frame.width - frame.right - 2 * margin) / Math.max(1, layout.width)));
  return { zoom, x: margin, y: margin };
}

// revealed moves as little as is needed to show a box.
export function revealed(camera: Camera, box: Box, frame: Frame): Camera {
  const zoom = camera.zoom < legible ? 0.8 : camera.zoom;
  const from = zoom === camera.zoom ? camera : zoomedAt(camera, zoom / camera.zoom, { x: camera.x + (box.x + box.width / 2) * camera.zoom, y: camera.y + (box.y + box.height / 2) * camera.zoom });
  const [left, top] = [from.x + box.x * zoom, from.y + box.y * zoom];
  const [right, bottom] = [left + box.width * zoom, top + box.height * zoom];
  const edge = frame.width - frame.right - margin;
  const dx = left < margin ? margin - left : right > edge ? Math.max(edge - right, margin - left) : 0;
  const dy = top < margin ? margin - top : bottom > frame.height - tools ? frame.height - tools - bottom : 0;
  return dx === 0 && dy === 0 && zoom === camera.zoom ? camera : { zoom, x: from.x + dx, y: from.y + dy };
}

// held keeps a box where it is on the screen while the layout around it changes.
export function held(camera: Camera, before: Box, after: Box): Camera {
  return { ...camera, x: camera.x - (after.x - before.x) * camera.zoom, y: camera.y - (after.y - before.y) * camera.zoom };
}

// bounded keeps some of the graph in sight.
export function bounded(camera: Camera, layout: Layout, frame: Frame): Camera {
  const keep = 80;
  const x = Math.min(frame.width - keep, Math.max(keep - layout.width * camera.zoom, camera.x));
  const y = Math.min(frame.height - keep, Math.max(keep - layout.height * camera.zoom, camera.y));
  return x === camera.x && y === camera.y ? camera : { ...camera, x, y };
}

// tiles is the part of the graph that is seen, rounded outwards to tiles, so
// that small movements change nothing of what is rendered.
export function tiles(camera: Camera, frame: Frame, tile = 480): Box {
  const x = Math.floor(-camera.x / camera.zoom / tile) * tile;
  const y = Math.floor(-camera.y / camera.zoom / tile) * tile;
  const right = Math.ceil((frame.width - camera.x) / camera.zoom / tile) * tile;
  const bottom = Math.ceil((frame.height - camera.y) / camera.zoom / tile) * tile;
  return { x, y, width: right - x, height: bottom - y };
}

export function overlaps(a: Box, b: Box): boolean {
  return a.x < b.x + b.width && b.x < a.x + a.width && a.y < b.y + b.height && b.y < a.y + a.height;
}
