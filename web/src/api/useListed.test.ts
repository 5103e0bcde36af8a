import { expect, test } from "vitest";
import { merged } from "./useListed";

const item = (name: string, value = 0) => ({ name, value });
const change = (more: object) => ({ reset: false, changed: [], removed: [], revision: "2", ...more });

test("what changed takes the place of what was there, by its name", () => {
  const before = [item("a"), item("c")];
  expect(merged(before, change({ changed: [item("c", 1), item("b", 2)] }), (i) => i.name)).toEqual([item("a"), item("b", 2), item("c", 1)]);
  expect(merged(before, change({ removed: ["a"] }), (i) => i.name)).toEqual([item("c")]);
  expect(merged(before, change({ reset: true, changed: [item("d")] }), (i) => i.name)).toEqual([item("d")]);
});

test("where nothing changed it is the same list, so that nothing is drawn again", () => {
  const before = [item("a")];
  expect(merged(before, change({}), (i) => i.name)).toBe(before);
});
