import { create } from "@bufbuild/protobuf";
import { describe, expect, it } from "vitest";
import { refOf } from "~/api/refs";
import { ObjectDiffSchema } from "~/gen/plumb/v1/deliveries_pb";
import { meaningful, sorted, standing, summary, textsOf } from "./compared";

const diff = (name: string, verb: string, more: object = {}) => create(ObjectDiffSchema, { object: refOf({ kind: "ConfigMap", name }), change: { verb }, live: "live", desired: "desired", predicted: "predicted", ...more });

describe("comparing", () => {
  it("takes the texts that were asked for", () => {
    expect(textsOf(diff("a", "apply"), "predicted")).toEqual(["live", "predicted"]);
    expect(textsOf(diff("a", "apply"), "desired")).toEqual(["live", "desired"]);
    expect(textsOf(diff("a", "apply"), "defaults")).toEqual(["desired", "predicted"]);
  });

  it("knows what becomes of objects that nobody predicted", () => {
    expect(textsOf(diff("a", "create", { live: "", predicted: "" }), "predicted")).toEqual(["", "desired"]);
    expect(textsOf(diff("a", "delete", { desired: "", predicted: "" }), "predicted")).toEqual(["live", ""]);
    expect(textsOf(diff("a", "", { predicted: "" }), "predicted")).toEqual(["live", "live"]);
  });

  it("begins with what is deleted, and ends with what is the same", () => {
    const all = [diff("same", ""), diff("b", "apply"), diff("gone", "delete"), diff("left", "apply", { ignored: true }), diff("a", "apply")];
    expect(sorted(all).map((o) => o.object!.name)).toEqual(["gone", "a", "b", "left", "same"]);
    expect(all.map(standing)).toEqual(["same", "apply", "delete", "ignored", "apply"]);
    expect(summary({ objects: all, failed: [] })).toEqual([["delete", 1], ["apply", 2], ["ignored", 1], ["same", 1]]);
  });
});

it("leaves out what the cluster writes down for itself, and nothing else", () => {
  const wanted = "metadata:\n  name: a\n  labels:\n    uid: kept\nspec:\n  generation: 3\n";
  expect(meaningful("metadata:\n  generation: 2\n  name: a\n  resourceVersion: \"5\"\n  uid: x\n  labels:\n    uid: kept\nspec:\n  generation: 3\nstatus:\n  replicas: 2\n")).toBe(wanted.trimEnd());
  expect(meaningful(wanted)).toBe(wanted);
});
