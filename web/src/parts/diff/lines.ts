// Lines of a unified diff, as they are shown: beside each other or below.

export interface DiffLine {
  kind: "same" | "add" | "del" | "skip";
  text: string;
  before?: number;
  after?: number;
  // Where it differs from its counterpart, as [from, to) of text.
  part?: [number, number];
}

// parseUnified reads a unified diff; headers of files are left out.
export function parseUnified(diff: string): DiffLine[] {
  const lines: DiffLine[] = [];
  let before = 1;
  let after = 1;
  for (const line of diff.replace(/\n$/, "").split("\n")) {
    const hunk = /^@@ -(\d+)(?:,\d+)? \+(\d+)(?:,\d+)? @@/.exec(line);
    if (hunk) {
      before = Number(hunk[1]);
      after = Number(hunk[2]);
      if (lines.length > 0 || before > 1) lines.push({ kind: "skip", text: line.slice(hunk[0].length).trim() });
    } else if (line.startsWith("---") || line.startsWith("+++") || line.startsWith("\\")) {
      continue;
    } else if (line.startsWith("+")) lines.push({ kind: "add", text: line.slice(1), after: after++ });
    else if (line.startsWith("-")) lines.push({ kind: "del", text: line.slice(1), before: before++ });
    else lines.push({ kind: "same", text: line.slice(1), before: before++, after: after++ });
  }
  return markParts(lines);
}

// A deleted line beside an added one: what differs within them.
function markParts(lines: DiffLine[]): DiffLine[] {
  for (const [del, add] of pairs(lines)) {
    if (!del || !add || del.kind !== "del" || add.kind !== "add") continue;
    let start = 0;
    while (start < del.text.length && del.text[start] === add.text[start]) start++;
    let end = 0;
    while (end < Math.min(del.text.length, add.text.length) - start && del.text.at(-1 - end) === add.text.at(-1 - end)) end++;
    if (start + end < Math.max(del.text.length, add.text.length) / 3) continue;
    del.part = [start, del.text.length - end];
    add.part = [start, add.text.length - end];
  }
  return lines;
}

// pairs puts what was before and what is after beside each other.
export function pairs(lines: readonly DiffLine[]): [DiffLine | undefined, DiffLine | undefined][] {
  const rows: [DiffLine | undefined, DiffLine | undefined][] = [];
  for (let i = 0; i < lines.length; ) {
    const line = lines[i]!;
    if (line.kind === "same" || line.kind === "skip") {
      rows.push([line, line]);
      i++;
      continue;
    }
    const del: DiffLine[] = [];
    const add: DiffLine[] = [];
    for (; lines[i]?.kind === "del"; i++) del.push(lines[i]!);
    for (; lines[i]?.kind === "add"; i++) add.push(lines[i]!);
    for (let n = 0; n < Math.max(del.length, add.length); n++) rows.push([del[n], add[n]]);
  }
  return rows;
}
