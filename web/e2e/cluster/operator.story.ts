// What those do who run Plumb for others: they approve deletions, roll back and
// lift a quarantine, see what windows and ApplicationSets do; and what somebody sees
// who may only look, or is limited to one project.
import { join } from "node:path";
import type { Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { violationsOf } from "../axe";
import { openBrowser } from "../browser";
import { act, confirm, signIn } from "./hands";
import { startUp, type Up } from "./up";
import { letIn, team } from "./team";

const soon = 45_000;
const password = "a-long-password";
let up: Up;
let browser: Awaited<ReturnType<typeof openBrowser>>;
let page: Page;
const complaints: string[] = [];

beforeAll(async () => {
  [up, browser] = await Promise.all([startUp(), openBrowser()]);
  page = await browser.newPage();
  page.setDefaultTimeout(soon);
  page.on("pageerror", (error) => complaints.push(error.message));
  await signIn(page, up.console, "admin", up.password);
  team(up.repository);
  up.repository.commit("Open shops");
  await page.goto(`${up.console}/deliveries/flux-kustomization/flux-system/sample`);
  for (const name of ["many", "board", "frozen", "shops"]) await page.getByRole("row", { name: new RegExp(`/${name} `) }).first().waitFor();
});
afterAll(async () => {
  await browser?.quit();
  await up?.stop();
});
afterEach(async ({ task }) => {
  const out = process.env.PLUMB_E2E_OUT;
  if (out && task.result?.state === "fail") await page.screenshot({ path: join(out, `e2e-${task.name.replace(/[^a-z0-9]+/gi, "-")}.png`) });
});

const open = (path: string) => page.goto(up.console + path);
const application = (name: string, tab = "overview") => `/deliveries/argo-application/argocd/${name}/${tab}`;
const many = "/deliveries/flux-kustomization/flux-system/many/overview";

test("a large deletion waits until it is approved", async () => {
  await open(many);
  await page.getByText("14", { exact: true }).first().waitFor();
  for (let i = 3; i <= 14; i++) up.repository.remove(`many/item-${i}.yaml`);
  up.repository.remove("overlays/local/kept.yaml");
  up.repository.edit("overlays/local/kustomization.yaml", ", kept.yaml", "");
  up.repository.commit("Tidy up");
  const held = page.getByRole("region", { name: "12 of 14 objects wait to be deleted" });
  await held.waitFor();
  expect(await violationsOf(page)).toEqual([]);
  await held.getByRole("button", { name: "Review and approve" }).click();
  expect(await page.getByRole("dialog").getByText("delete", { exact: true }).count()).toBe(12);
  await confirm(page, "Approve deletions");
  await held.waitFor({ state: "detached" });
  await page.getByRole("row", { name: /item-14/ }).waitFor({ state: "detached" });
  expect(await page.getByRole("row", { name: /ConfigMap/ }).count()).toBe(2);
});

test("a sync window says that nothing may be synced now, and so does the preview of a sync", async () => {
  await open(application("frozen"));
  await page.getByText("Syncs are blocked now.").waitFor();
  await page.getByRole("group", { name: "Actions" }).getByRole("button", { name: "Sync" }).click();
  const dialog = page.getByRole("dialog");
  await dialog.getByText(/a sync window blocks it now/i).waitFor();
  expect(await violationsOf(page)).toEqual([]);
  await page.keyboard.press("Escape");
});

test("what nobody delivers in the namespaces of a project is told", async () => {
  await open(application("board"));
  // They are looked for when somebody asks, and after a sync.
  await act(page, "Refresh");
  await page.getByRole("list", { name: "Orphaned objects" }).getByText("kept").waitFor();
  await page.getByText("OrphanedResourceWarning").waitFor();
  expect(await violationsOf(page)).toEqual([]);
});

test("what was rolled back from stays in quarantine until that is lifted", async () => {
  await open(application("board", "history"));
  up.repository.edit("board/page.yaml", "text: hello", "text: broken");
  up.repository.commit("Rewrite the board");
  await act(page, "Refresh");
  await page.locator("header").getByText("Rewrite the board").waitFor();
  await page.getByRole("button", { name: "Roll back…" }).and(page.locator(":not([aria-disabled=true])")).first().click();
  await confirm(page, "Roll back");
  await page.getByText(/is in quarantine/).waitFor();
  expect(await violationsOf(page)).toEqual([]);
  await page.getByRole("button", { name: "Lift it…" }).click();
  await confirm(page, "Lift quarantine");
  await page.getByText(/is in quarantine/).waitFor({ state: "detached" });
  await open(`${application("board", "manifest")}?object=${encodeURIComponent("/ConfigMap/team-a/page")}&pane=live`);
  await page.getByText("text: broken").first().waitFor();
});

test("an ApplicationSet leads to its Applications, and they say what they were made of", async () => {
  await open("/applicationsets?open=ApplicationSet/argocd/shops");
  await page.getByText("2 applications").waitFor();
  await page.getByRole("link", { name: "shop-b" }).click();
  const parameters = page.locator("section").filter({ has: page.getByRole("heading", { name: "Parameters" }) });
  await parameters.getByText("generator.greeting").waitFor();
  const told = (await parameters.textContent())!;
  expect(told).toContain("good day");
  expect(told).not.toContain("hunter2");
  await page.getByRole("list", { name: "About this delivery" }).getByRole("link", { name: "shops" }).click();
  await page.getByRole("heading", { name: "shops", level: 1 }).waitFor();
  await page.getByRole("row", { name: /shop-a/ }).waitFor();
  expect(await violationsOf(page)).toEqual([]);
});

test("who may only look sees everything, and why nothing can be pressed", async () => {
  await letIn(up, "viewer", password);
  await signIn(page, up.console, "viewer", password);
  await open(many);
  const reconcile = page.getByRole("group", { name: "Actions" }).getByRole("button", { name: "Reconcile" });
  await page.locator("[aria-disabled=true]", { hasText: "Reconcile" }).waitFor();
  expect(await reconcile.getAttribute("aria-description")).toMatch(/no rule lets viewer/i);
  await page.getByRole("button", { name: "More actions" }).click();
  const suspend = page.getByRole("menuitem", { name: /Suspend/ });
  expect(await suspend.getAttribute("aria-disabled")).toBe("true");
  expect(await suspend.textContent()).toMatch(/no rule lets viewer/i);
  expect(await violationsOf(page)).toEqual([]);
  await page.keyboard.press("Escape");
});

test("who is limited to a project sees that project alone", async () => {
  await letIn(up, "bob", password);
  await signIn(page, up.console, "bob", password);
  await page.getByText("3 deliveries", { exact: true }).last().waitFor();
  expect(await page.getByRole("navigation", { name: "Main pages" }).getByRole("link", { name: "Settings" }).count()).toBe(0);
  await open(many);
  await page.getByRole("heading", { name: "You may not see or do this" }).waitFor();
  expect(await violationsOf(page)).toEqual([]);
  await open(application("board"));
  await act(page, "Sync");
});

test("nothing broke on the way", () => {
  expect(complaints).toEqual([]);
});
