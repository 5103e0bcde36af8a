import { create } from "@bufbuild/protobuf";
import { expect, it } from "vitest";
import { refOf } from "~/api/refs";
import { HistoryEntrySchema } from "~/gen/plumb/v1/deliveries_pb";
import { linkToComparison } from "../overview/sourcelink";
import { between, idOf } from "./between";

const object = (name: string) => refOf({ kind: "ConfigMap", namespace: "shop", name });
const entry = (at: number, more: object = {}) => create(HistoryEntrySchema, { time: { seconds: BigInt(at), nanos: 0 }, revision: `r${at}`, ...more });
const change = (verb: string, name: string) => ({ verb, object: object(name), why: "" });

const entries = [
  entry(4, { changes: [change("apply", "a"), change("delete", "b")], commit: { hash: "d4" } }),
  entry(3, { failed: true, commit: { hash: "c3" } }),
  entry(2, { changes: [change("create", "a"), change("create", "b")], omitted: 2, commit: { hash: "b2" } }),
  entry(1, { changes: [change("create", "old")], commit: { hash: "a1" } }),
];

it("sums up what came after the older one, whichever is named first", () => {
  for (const [one, other] of [["4.0", "1.0"], ["1.0", "4.0"]] as const) {
    const found = between(entries, one, other)!;
    expect([idOf(found.from), idOf(found.to)]).toEqual(["1.0", "4.0"]);
    expect(found.objects.map((t) => [t.object.name, t.verb, t.times])).toEqual([["a", "create", 2], ["b", "gone again", 2]]);
    expect(found).toMatchObject({ runs: 2, failed: 1, omitted: 2 });
    expect(found.commits.map((c) => c.hash)).toEqual(["d4", "c3", "b2"]);
  }
});

it("says nothing of what is not there, or of one and the same", () => {
  expect(between(entries, "4.0", "9.0")).toBeUndefined();
  expect(between(entries, "4.0", "4.0")).toBeUndefined();
});

it("leads to the host of the repository where it is known", () => {
  const [before, after] = ["a".repeat(40), "b".repeat(40)];
  const link = (url: string) => linkToComparison(url, { revision: `main@sha1:${before}` }, { revision: `main@sha1:${after}` });
  expect(link("https://github.com/o/r.git")).toBe(`https://github.com/o/r/compare/${before}...${after}`);
  expect(link("https://gitlab.com/o/r")).toBe(`https://gitlab.com/o/r/-/compare/${before}...${after}`);
  expect(link("https://bitbucket.org/o/r")).toBe(`https://bitbucket.org/o/r/branches/compare/${after}%0D${before}`);
  expect(link("http://127.0.0.1:8080/r.git")).toBeUndefined();
});
