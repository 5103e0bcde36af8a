import { createRouterTransport } from "@connectrpc/connect";
import { render, screen, waitFor, within } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { describe, expect, it } from "vitest";
import { Router } from "wouter";
import { memoryLocation } from "wouter/memory-location";
import { createApi } from "~/api/api";
import { deliveryPath, keyOf, refOf } from "~/api/refs";
import { App } from "~/app/App";
import type { Delivery } from "~/gen/plumb/v1/deliveries_pb";
import { workloadOf } from "../../../mock/parts";
import { routes } from "../../../mock/services";
import { World } from "../../../mock/world";

// show shows the page as admin or as viewer, who may only look.
function show(path: string, world: World, name: "admin" | "viewer" = "admin") {
  const transport = createRouterTransport(routes(world), {
    transport: { interceptors: [(next) => (request) => (request.header.set("Cookie", `plumb_mock=${name}`), next(request))] },
  });
  const location = memoryLocation({ path, record: true });
  render(
    <Router hook={location.hook} searchHook={location.searchHook}>
      <App api={createApi(transport)} />
    </Router>,
  );
  return location.history;
}

function worldWith(fits: (d: Delivery) => boolean): [World, Delivery] {
  const world = new World(800, Date.UTC(2026, 0, 1));
  const delivery = world.deliveries.find(fits);
  if (!delivery) throw new Error("the generated world has no such delivery");
  return [world, delivery];
}

const failed = (kind: string) => (d: Delivery) => d.ref!.kind === kind && d.health?.state === "Degraded" && d.phase === "settle" && !d.running;
const page = (d: Delivery, tab?: Parameters<typeof deliveryPath>[1]) => deliveryPath(d.ref!, tab);

describe("the page of a delivery", () => {
  it("says first why something is wrong, with links to the objects on the way", async () => {
    const [world, d] = worldWith(failed("Kustomization"));
    show(page(d), world);
    const why = await screen.findByRole("region", { name: "Why" });
    expect(why.textContent!.toLowerCase()).toContain(d.message.toLowerCase());
    const chain = within(why).getByRole("list", { name: /root cause/ });
    expect(within(chain).getAllByRole("listitem").length).toBeGreaterThan(2);
    expect(within(chain).getByText("Root cause")).toBeTruthy();
    const deployment = keyOf(refOf({ group: "apps", kind: "Deployment", namespace: d.targetNamespace, name: workloadOf(d) }));
    expect(within(chain).getAllByRole("link")[0]!.getAttribute("href")).toContain(`object=${encodeURIComponent(deployment)}`);
    expect(within(why).getByText("What to do next")).toBeTruthy();
  });

  it("follows the stream without being asked", async () => {
    const [world, d] = worldWith((d) => d.ref!.kind === "Kustomization" && d.health?.state === "Healthy" && !d.running);
    show(page(d), world);
    await screen.findByRole("heading", { level: 1, name: d.ref!.name });
    await screen.findAllByText("ReconciliationSucceeded");
    world.change(d, (d) => Object.assign(d, { running: true, phase: "render", message: "building manifests", health: { ...d.health!, state: "Progressing" } }));
    expect(await screen.findByText("Render manifests")).toBeTruthy();
    expect(await screen.findByText("building manifests")).toBeTruthy();
  });

  it("stays, and says so, when the delivery is deleted meanwhile", async () => {
    const [world, d] = worldWith((d) => d.ref!.kind === "Kustomization" && d.health?.state === "Healthy");
    show(page(d), world);
    await screen.findAllByText("ReconciliationSucceeded");
    world.remove(d);
    expect(await screen.findByRole("heading", { name: "It is no longer declared" })).toBeTruthy();
    expect(screen.getByRole("heading", { level: 1, name: d.ref!.name })).toBeTruthy();
  });

  it("tells of what is not there, and of addresses that mean nothing", async () => {
    const [world] = worldWith(() => true);
    show("/deliveries/flux-kustomization/nowhere/nothing", world);
    expect(await screen.findByText("There is no Kustomization nowhere/nothing")).toBeTruthy();
  });
});

describe("actions", () => {
  it("are previewed, and done only after that", async () => {
    const [world, d] = worldWith((d) => d.ref!.kind === "Kustomization" && d.health?.state === "Healthy" && !d.suspended);
    show(page(d), world);
    const user = userEvent.setup();
    await waitFor(() => expect((screen.getByRole("button", { name: "Reconcile" }) as HTMLButtonElement).disabled).toBe(false));
    await user.click(screen.getByRole("button", { name: "More actions" }));
    await user.click(await screen.findByRole("menuitem", { name: /Suspend/ }));
    const dialog = await screen.findByRole("dialog");
    expect(await within(dialog).findByText(/^Nothing is delivered, and nothing is corrected/)).toBeTruthy();
    expect(d.suspended).toBe(false);
    await user.click(within(dialog).getByRole("button", { name: "Suspend" }));
    await waitFor(() => expect(d.suspended).toBe(true));
    expect(await screen.findByRole("heading", { name: "Suspended" })).toBeTruthy();
  });

  it("want the name of what is deleted", async () => {
    const [world, d] = worldWith((d) => d.ref!.kind === "Kustomization" && d.health?.state === "Healthy" && !d.suspended);
    show(page(d), world);
    const user = userEvent.setup();
    await screen.findAllByText("ReconciliationSucceeded");
    await user.click(screen.getByRole("button", { name: "More actions" }));
    await user.click(await screen.findByRole("menuitem", { name: /Delete/ }));
    const dialog = await screen.findByRole("dialog");
    await within(dialog).findByText(/would be deleted/);
    const button = within(dialog).getByRole("button", { name: "Delete" }) as HTMLButtonElement;
    expect(button.disabled).toBe(true);
    await user.type(within(dialog).getByRole("textbox"), d.ref!.name);
    await waitFor(() => expect(button.disabled).toBe(false));
  });

  it("stay in sight with the reason where they are not allowed", async () => {
    const [world, d] = worldWith((d) => d.ref!.kind === "Kustomization" && d.health?.state === "Healthy");
    show(page(d), world, "viewer");
    await waitFor(() => expect(screen.getByRole("button", { name: "Reconcile" }).getAttribute("aria-disabled")).toBe("true"));
    expect(screen.getByRole("button", { name: "Reconcile" }).getAttribute("aria-description")).toContain("No rule lets viewer sync");
  });

  it("let only those roll back who may, and only to what can be gone back to", async () => {
    const [world, d] = worldWith(failed("Application"));
    show(page(d, "history"), world);
    const buttons = await screen.findAllByRole("button", { name: /Roll back/ });
    expect(buttons[0]!.getAttribute("aria-description")).toBe("It is what is delivered now");
    const able = buttons.find((b) => b.getAttribute("aria-disabled") !== "true")!;
    await userEvent.setup().click(able);
    expect(await within(await screen.findByRole("dialog")).findByText(/What was delivered then is delivered again/)).toBeTruthy();
  });
});

describe("the history", () => {
  it("tells what changed between two entries, and the address keeps it", async () => {
    const [world, d] = worldWith(failed("Kustomization"));
    const history = show(page(d, "history"), world);
    const user = userEvent.setup();
    await user.click((await screen.findAllByRole("button", { name: "Compare" }))[0]!);
    await screen.findByText("Choose what to compare it with");
    await user.click(screen.getAllByRole("button", { name: "Compare with this" }).at(-1)!);
    expect(await screen.findByRole("list", { name: "Objects that changed" })).toBeTruthy();
    expect(history!.at(-1)).toMatch(/from=.+&to=.+/);
    await user.click(screen.getByRole("button", { name: "Close the comparison" }));
    expect(history!.at(-1)).toBe(page(d, "history"));
  });
});

describe("an object of the delivery", () => {
  it("is shown at its address, with its parts", async () => {
    const [world, d] = worldWith(failed("Kustomization"));
    const key = keyOf(refOf({ group: "apps", kind: "Deployment", namespace: d.targetNamespace, name: workloadOf(d) }));
    const history = show(`${page(d, "manifest")}?object=${encodeURIComponent(key)}&pane=events`, world);
    const panel = await screen.findByRole("complementary", { name: `Deployment ${workloadOf(d)}` });
    expect(await within(panel).findByText("ProgressDeadlineExceeded")).toBeTruthy();
    expect(within(panel).getByRole("link", { name: /Diff/ }).getAttribute("href")).toContain("pane=diff");
    await userEvent.setup().click(within(panel).getByRole("button", { name: "Close" }));
    expect(history!.at(-1)).toBe(page(d, "manifest"));
  });
});
