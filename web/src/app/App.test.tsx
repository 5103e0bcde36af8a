import { act, screen, waitFor, within } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { expect, test } from "vitest";
import { sessionLost } from "~/api/session";
import { deliveryPath } from "~/api/refs";
import { World } from "../../mock/world";
import { showApp } from "../../test/show";

test("a session that ends leads to the sign-in page, which says so and knows the way back", async () => {
  const { history } = showApp("/settings");
  await screen.findByText("concurrent");
  act(sessionLost);
  expect(await screen.findByText(/Your session has ended/)).toBeTruthy();
  expect(history.at(-1)).toBe("/signin?back=%2Fsettings");
});

test("an address of Argo CD leads to the Application, also without its namespace", async () => {
  const world = new World(200);
  const application = world.deliveries.find((d) => d.ref!.kind === "Application")!;
  const { history } = showApp(`/applications/${application.ref!.name}?view=tree`, { world });
  await waitFor(() => expect(history.at(-1)).toBe(deliveryPath(application.ref!, "graph")));
});

test("a page takes the slash for its own search, and others open the search of everything", async () => {
  showApp("/deliveries");
  const search = await screen.findByRole("searchbox", { name: "Search deliveries" });
  await userEvent.keyboard("/");
  expect(document.activeElement).toBe(search);
  await userEvent.keyboard("{Escape}");
  expect(document.activeElement).not.toBe(search);
});

test("the search of everything offers what can be done here, views and pages", async () => {
  const world = new World(200);
  const delivery = world.deliveries.find((d) => d.ref!.kind === "Kustomization")!;
  const { history } = showApp(deliveryPath(delivery.ref!), { world });
  await screen.findByRole("button", { name: "Reconcile" });
  await userEvent.keyboard("{Control>}k{/Control}");
  const dialog = await screen.findByRole("dialog", { name: "Search everything" });
  expect(within(dialog).getByRole("option", { name: /Reconcile/ })).toBeTruthy();
  await userEvent.keyboard("waiting app");
  await waitFor(() => expect(within(dialog).getAllByRole("option")[0]!.textContent).toContain("Waiting for approval"));
  await userEvent.keyboard("{Enter}");
  await waitFor(() => expect(history.at(-1)).toBe("/deliveries?held=true"));
});

test("an address that means nothing leads on", async () => {
  const { history } = showApp("/nothing/here");
  await userEvent.click(await screen.findByRole("link", { name: "All deliveries" }));
  await waitFor(() => expect(history.at(-1)).toBe("/deliveries"));
});
