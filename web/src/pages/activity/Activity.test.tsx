import { screen, within } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { expect, test } from "vitest";
import { showApp } from "../../../test/show";

const entries = () => within(screen.getByRole("grid", { name: "Activity" })).getAllByRole("row").slice(1);

test("what failed is found by one button, and the address says so", async () => {
  const { history } = showApp("/activity");
  expect((await screen.findAllByText("Succeeded")).length).toBeGreaterThan(0);
  await userEvent.click(screen.getByRole("button", { name: "Failed" }));
  await expect.poll(() => screen.queryByText("Succeeded")).toBeNull();
  expect(entries().length).toBeGreaterThan(0);
  expect(history!.at(-1)).toBe("/activity?failed=true");
});

test("choosing who did something shows only what they did", async () => {
  showApp("/activity?action=approve");
  const [somebody] = await screen.findAllByTitle(/^Only what /);
  const who = somebody!.textContent!;
  await userEvent.click(somebody!);
  await expect.poll(() => new Set(screen.getAllByTitle(/^Only what /).map((b) => b.textContent))).toEqual(new Set([who]));
});

test("what has come since stands on top, and nothing is told twice", async () => {
  const { world } = showApp("/activity?action=suspend&q=world-made");
  expect(await screen.findByText("Nothing matches")).toBeTruthy();
  world.record("world-made", "suspend", world.deliveries[0]!, "Suspended");
  await expect.poll(() => screen.queryAllByText("world-made").length, { timeout: 20_000 }).toBe(1);
}, 30_000);
