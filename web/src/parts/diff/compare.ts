// A line diff of two texts (Myers), for texts that come without one.
import type { DiffLine } from "./lines";

const bound = 4_000; // edits; texts that differ in more are shown as wholly different

// compareLines tells how b differs from a, in the lines of both.
export function compareLines(a: string, b: string): DiffLine[] {
  const before = a === "" ? [] : a.replace(/\n$/, "").split("\n");
  const after = b === "" ? [] : b.replace(/\n$/, "").split("\n");
  const lines: DiffLine[] = [];
  let x = 0;
  let y = 0;
  const same = () => lines.push({ kind: "same", text: before[x]!, before: ++x, after: ++y });
  for (const edit of edits(before, after)) {
    while (x < edit.x) same();
    if (edit.kind === "del") lines.push({ kind: "del", text: before[x]!, before: ++x });
    else lines.push({ kind: "add", text: after[y]!, after: ++y });
  }
  while (x < before.length && y < after.length) same();
  return lines;
}

type Edit = { kind: "del" | "add"; x: number };

function edits(a: string[], b: string[]): Edit[] {
  const trace: Map<number, number>[] = [];
  const furthest = new Map([[1, 0]]);
  for (let d = 0; d <= Math.min(a.length + b.length, bound); d++) {
    trace.push(new Map(furthest));
    for (let k = -d; k <= d; k += 2) {
      let x = k === -d || (k !== d && furthest.get(k - 1)! < furthest.get(k + 1)!) ? furthest.get(k + 1)! : furthest.get(k - 1)! + 1;
      while (x < a.length && x - k < b.length && a[x] === b[x - k]) x++;
      furthest.set(k, x);
      if (x >= a.length && x - k >= b.length) return back(trace, a.length, b.length);
    }
  }
  return [...a.map((_, x): Edit => ({ kind: "del", x })), ...b.map((): Edit => ({ kind: "add", x: a.length }))];
}

function back(trace: Map<number, number>[], x: number, y: number): Edit[] {
  const result: Edit[] = [];
  for (let d = trace.length - 1; d > 0; d--) {
    const furthest = trace[d]!;
    const k = x - y;
    const down = k === -d || (k !== d && furthest.get(k - 1)! < furthest.get(k + 1)!);
    const from = down ? k + 1 : k - 1;
    const fromX = furthest.get(from)!;
    result.push({ kind: down ? "add" : "del", x: fromX });
    x = fromX;
    y = fromX - from;
  }
  return result.reverse();
}
