import { create } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { expect, it } from "vitest";
import { HistoryEntrySchema } from "~/gen/plumb/v1/deliveries_pb";
import { byDays, dayWords, ending, folded } from "./entries";

const entry = (id: string, at: Date, more: object = {}) => create(HistoryEntrySchema, { id, time: timestampFromDate(at), revision: "r1", result: "Failed", failed: true, message: "no such file", ...more });
const noon = (day: number, hour = 12) => new Date(2026, 2, day, hour);

it("tells once what happened again and again, and keeps what people asked for apart", () => {
  const told = folded([entry("5", noon(3, 15)), entry("4", noon(3, 14)), entry("3", noon(3, 13), { actor: "ann" }), entry("2", noon(2)), entry("1", noon(2, 11), { revision: "r0" })]);
  expect(told.map((t) => [t.entry.id, t.times, t.first.id])).toEqual([["5", 2, "4"], ["3", 1, "3"], ["2", 1, "2"], ["1", 1, "1"]]);
});

it("never folds what changed something or can be gone back to", () => {
  expect(folded([entry("2", noon(2), { changes: [{ verb: "apply" }] }), entry("1", noon(1), { changes: [{ verb: "apply" }] })])).toHaveLength(2);
  expect(folded([entry("2", noon(2)), entry("1", noon(1), { canRollback: { allowed: true } })])).toHaveLength(2);
});

it("goes by the days of the reader", () => {
  const days = byDays(folded([entry("3", noon(3), { revision: "c" }), entry("2", noon(2), { revision: "b" }), entry("1", noon(2, 1), { revision: "a" })]));
  expect(days.map((d) => [d.day, d.told.length])).toEqual([["2026-03-03", 1], ["2026-03-02", 2]]);
  expect(days.map((d) => dayWords(d.day, noon(3)))).toEqual(["Today", "Yesterday"]);
  expect(dayWords("2025-12-24", noon(3))).toMatch(/^Wednesday,? 24 December 2025$/);
});

it("says of a run how it ended, and only of the newest that it is at it", () => {
  expect(ending({ failed: true, result: "BuildFailed" }, true)).toEqual({ word: "BuildFailed", state: "Degraded" });
  expect(ending({ failed: false, result: "Progressing" }, true).state).toBe("Progressing");
  expect(ending({ failed: false, result: "Progressing" }, false)).toEqual({ word: "Applied", state: "" });
  expect(ending({ failed: false, result: "" }, false).word).toBe("Delivered");
});
