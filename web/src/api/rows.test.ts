import { afterEach, beforeEach, expect, test, vi } from "vitest";
import type { ObjectRef } from "~/gen/plumb/v1/common_pb";
import type { Api } from "./api";
import { refOf } from "./refs";
import { Rows } from "./rows";

interface Row {
  ref: ObjectRef;
  text: string;
}

const row = (name: string, text = ""): Row => ({ ref: refOf({ kind: "Shirt", name }), text });
const change = (more: object) => ({ reset: false, changed: [], removed: [], totalSize: 2, facets: [], revision: "2", ...more });

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

// held is a list of two rows that has been looked at, and how often it was asked for.
async function held() {
  const ask = vi.fn(async () => ({ rows: [row("a"), row("b")], total: 2, facets: [], revision: "1" }));
  const rows = new Rows<Row>({} as Api, ask);
  rows.load();
  await vi.runAllTimersAsync();
  return { rows, ask };
}
const texts = (rows: Rows<Row>) => rows.state.rows.map((r) => r?.text);

test("a row that changed changes in place, and nothing is asked for again", async () => {
  const { rows, ask } = await held();
  expect(rows.since).toBe("1");
  rows.apply(change({ changed: [row("b", "new")] }));
  await vi.runAllTimersAsync();
  expect(texts(rows)).toEqual(["", "new"]);
  expect(ask).toHaveBeenCalledTimes(1);
  expect(rows.since).toBe("2");
});

test.each([
  ["a row that comes", { changed: [row("c")], totalSize: 3 }],
  ["a row that goes", { removed: [row("a").ref], totalSize: 1 }],
  ["everything anew", { reset: true, changed: [row("a"), row("b")] }],
])("%s moves the others: they are asked for again, once for a burst", async (_, more) => {
  const { rows, ask } = await held();
  rows.apply(change(more));
  rows.apply(change(more));
  await vi.runAllTimersAsync();
  expect(ask).toHaveBeenCalledTimes(2);
});

test("the first message, which tells nothing new, draws nothing", async () => {
  const { rows, ask } = await held();
  const before = rows.state;
  rows.apply(change({}));
  await vi.runAllTimersAsync();
  expect(rows.state).toBe(before);
  expect(ask).toHaveBeenCalledTimes(1);
});
