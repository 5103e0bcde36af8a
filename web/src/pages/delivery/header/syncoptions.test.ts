import { expect, test } from "vitest";
import { declaredOptions, withOption } from "./syncoptions";

const manifest = (list: string) => `apiVersion: argoproj.io/v1alpha1\nspec:\n  project: default\n  syncPolicy:\n    automated: {}\n${list}  destination:\n    name: in-cluster\n`;

test("reads the options that are declared", () => {
  expect(declaredOptions(manifest("    syncOptions:\n    - CreateNamespace=true\n    - ApplyOutOfSyncOnly=true\n"))).toEqual(["CreateNamespace=true", "ApplyOutOfSyncOnly=true"]);
  expect(declaredOptions(manifest("    syncOptions:\n      - \"Replace=true\"\n    retry: {}\n"))).toEqual(["Replace=true"]);
  expect(declaredOptions(manifest(""))).toEqual([]);
});

test("an option takes the place of another of its name, and those that are not offered stay", () => {
  const options = ["Validate=true", "PrunePropagationPolicy=foreground"];
  expect(withOption(options, "Validate=false", true)).toEqual(["PrunePropagationPolicy=foreground", "Validate=false"]);
  expect(withOption(options, "Validate=false", false)).toEqual(["PrunePropagationPolicy=foreground"]);
});
