import { screen } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { expect, test } from "vitest";
import { showApp } from "../../../test/show";

test("settings are found by their names, values and where they come from", async () => {
  showApp("/settings");
  expect(await screen.findByText("concurrent")).toBeTruthy();
  await userEvent.type(screen.getByRole("searchbox", { name: "Search settings" }), "policy.default");
  expect(await screen.findByText("role:readonly")).toBeTruthy();
  await expect.poll(() => screen.queryByText("concurrent")).toBeNull();
});

test("what is wrong with the settings stands above them", async () => {
  showApp("/settings");
  expect(await screen.findByText("NotActedOn")).toBeTruthy();
});
