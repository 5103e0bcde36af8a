import { screen } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { expect, test } from "vitest";
import { showApp } from "../../../test/show";

test("the address of a project opens it, and closing it leads back to the list", async () => {
  const { history } = showApp("/projects?name=payments");
  expect(await screen.findByRole("heading", { name: "Project payments" })).toBeTruthy();
  expect(screen.getByText("deployer")).toBeTruthy();
  await userEvent.click(screen.getByRole("button", { name: "Close" }));
  await expect.poll(() => history!.at(-1)).toBe("/projects");
});
