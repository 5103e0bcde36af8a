import { screen } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { expect, test } from "vitest";
import { sourcePath } from "~/api/refs";
import { World } from "../../../mock/world";
import { showApp } from "../../../test/show";

const sourceThat = (world: World, state: string) => world.sources.find((s) => s.health?.state === state && s.ref!.kind === "GitRepository")!;

test("a source that fails says why, and what to do", async () => {
  const world = new World(400);
  const source = sourceThat(world, "Degraded");
  showApp(sourcePath(source.ref!), { world });
  expect(await screen.findByRole("heading", { level: 1, name: source.ref!.name })).toBeTruthy();
  expect((await screen.findAllByText("GitOperationFailed")).length).toBeGreaterThan(0);
  expect(screen.getByText(/Renew the token/i)).toBeTruthy();
});

test("suspending a source offers to resume it", async () => {
  const world = new World(400);
  const source = sourceThat(world, "Healthy");
  showApp(sourcePath(source.ref!), { world });
  await userEvent.click(await screen.findByRole("button", { name: "Suspend" }));
  expect(await screen.findByRole("button", { name: "Resume" })).toBeTruthy();
  expect(source.suspended).toBe(true);
});

test("a source that is not there says so", async () => {
  showApp("/sources/source.toolkit.fluxcd.io/GitRepository/flux-system/nothing");
  expect(await screen.findByText("There is no such thing here")).toBeTruthy();
});
