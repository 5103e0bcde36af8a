import { create } from "@bufbuild/protobuf";
import { render, screen } from "@testing-library/react";
import { expect, test } from "vitest";
import { ConditionSchema } from "~/gen/plumb/v1/deliveries_pb";
import { Conditions } from "./Conditions";

const shown = (...conditions: object[]) => {
  render(<Conditions conditions={conditions.map((c) => create(ConditionSchema, c))} />);
  return screen.getAllByRole("listitem").map((item) => [item.dataset.status, item.querySelector("strong")!.textContent]);
};

test("those of Argo CD are there only when something is wrong, and have no status", () => {
  expect(shown({ type: "OrphanedResourceWarning", message: "1 orphaned resource" }, { type: "ComparisonError" })).toEqual([["False", "OrphanedResourceWarning"], ["False", "ComparisonError"]]);
});

test("those of Flux say what they are not", () => {
  expect(shown({ type: "Ready", status: "True" }, { type: "Ready", status: "False" }, { type: "Stalled", status: "True" }, { type: "Healthy", status: "Unknown" })).toEqual([["True", "Ready"], ["False", "Ready is False"], ["False", "Stalled"], [undefined, "Healthy is Unknown"]]);
});
