import { screen, waitFor, within } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { expect, test } from "vitest";
import { showApp } from "../../../test/show";

const rows = () => screen.findAllByRole("link", { name: (_, element) => element.hasAttribute("data-row-link") });

test("what is wrong comes first, and is counted by its reasons", async () => {
  showApp("/deliveries");
  const causes = await screen.findByRole("region", { name: "What is wrong" });
  await waitFor(() => expect(within(causes).getAllByRole("button").length).toBeGreaterThan(1));
  expect((await screen.findAllByText("Degraded")).length).toBeGreaterThan(0);
  expect(await rows()).not.toHaveLength(0);
});

test("a number of the strip narrows the list, and the address says so", async () => {
  const { history } = showApp("/deliveries");
  const strip = await screen.findByRole("region", { name: "Counts" });
  await userEvent.click(await within(strip).findByRole("button", { name: /Suspended/ }));
  expect(history.at(-1)).toContain("health=Suspended");
  await waitFor(() => expect(screen.getByRole("list", { name: "What narrows the list" })).toBeTruthy());
});

test("nothing found says so, and leads back", async () => {
  showApp("/deliveries?q=there-is-nothing-like-this");
  await screen.findByText("No delivery matches");
  await userEvent.click(screen.getByRole("button", { name: "Clear the filters" }));
  expect(await rows()).not.toHaveLength(0);
});

test("suspending several asks beforehand, and does it", async () => {
  const { world } = showApp("/deliveries?dialect=flux&health=Healthy&sync=Synced");
  await rows();
  const boxes = screen.getAllByRole("checkbox", { name: "Select" });
  await userEvent.click(boxes[0]!);
  await userEvent.click(boxes[1]!);
  const bar = await screen.findByRole("toolbar", { name: "Selected deliveries" });
  await userEvent.click(within(bar).getByRole("button", { name: "Suspend" }));
  const dialog = await screen.findByRole("dialog");
  await waitFor(() => expect(within(dialog).getAllByText(/^Nothing is delivered, and nothing is corrected/)).toHaveLength(2));
  const before = world.deliveries.filter((d) => d.suspended).length;
  await userEvent.click(within(dialog).getByRole("button", { name: "Suspend 2" }));
  await waitFor(() => expect(world.deliveries.filter((d) => d.suspended)).toHaveLength(before + 2));
});

test("whoever is not signed in is led to the sign-in page and back", async () => {
  const { history } = showApp("/deliveries?health=Degraded", { signedIn: false });
  await screen.findByRole("heading", { name: "Sign in to Plumb" });
  expect(history.at(-1)).toBe(`/signin?back=${encodeURIComponent("/deliveries?health=Degraded")}`);
});
