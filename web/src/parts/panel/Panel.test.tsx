import { render } from "@testing-library/react";
import { expect, test } from "vitest";
import { Breakable } from "./Panel";

const pieces = (text: string) => render(<Breakable text={text} />).container.innerHTML.split("<wbr>");

test("an address breaks after its slashes, and not within its words", () => {
  expect(pieces("https://git.example.org/team/deploy")).toEqual(["https://", "git.example.org/", "team/", "deploy"]);
});

test("a label breaks after its name", () => {
  expect(pieces("app.kubernetes.io/name=front")).toEqual(["app.kubernetes.io/", "name=", "front"]);
});

test("a word stays whole", () => {
  expect(pieces("automatic")).toEqual(["automatic"]);
});
