import { expect, test } from "vitest";
import { compareLines } from "./compare";
import { pairs, parseUnified } from "./lines";

test("a unified diff keeps its line numbers, and what differs within a line", () => {
  const lines = parseUnified("--- a\n+++ b\n@@ -3,3 +3,3 @@\n spec:\n-  replicas: 5\n+  replicas: 3\n   paused: false\n");
  expect(lines.map((l) => [l.kind, l.before, l.after])).toEqual([["skip", undefined, undefined], ["same", 3, 3], ["del", 4, undefined], ["add", undefined, 4], ["same", 5, 5]]);
  expect(lines[2]!.part).toEqual([12, 13]);
});

test("side by side, an added line stands beside the removed one", () => {
  const rows = pairs(parseUnified("@@ -1,2 +1,3 @@\n-a\n-b\n+c\n d\n+e\n"));
  expect(rows.map(([l, r]) => [l?.text, r?.text])).toEqual([["a", "c"], ["b", undefined], ["d", "d"], [undefined, "e"]]);
});

test.each([
  ["", "a\nb\n"],
  ["a\nb\n", ""],
  ["a\nb\nc\n", "a\nx\nc\nd\n"],
  ["same\n", "same\n"],
])("comparing %j with %j gives both back", (before, after) => {
  const lines = compareLines(before, after);
  const text = (kinds: string[]) => lines.filter((l) => kinds.includes(l.kind)).map((l) => `${l.text}\n`).join("");
  expect(text(["same", "del"])).toBe(before);
  expect(text(["same", "add"])).toBe(after);
});
