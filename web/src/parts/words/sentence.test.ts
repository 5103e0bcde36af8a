import { expect, test } from "vitest";
import { sentence } from "./sentence";

test.each([
  ["suspended", "Suspended"],
  ["the declared object is deleted", "The declared object is deleted"],
  ["kustomization.yaml: no such file", "kustomization.yaml: no such file"],
  ["Pod/shop/web is not ready", "Pod/shop/web is not ready"],
])("%j is said as %j", (text, said) => expect(sentence(text)).toBe(said));
