// What somebody does who has never seen Plumb: plumb up prints an address and a
// password; the sample delivery is found, broken by a commit, understood and mended.
import { join } from "node:path";
import type { Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { violationsOf } from "../axe";
import { openBrowser } from "../browser";
import { act, confirm } from "./hands";
import { startUp, type Up } from "./up";

const soon = 45_000;
let up: Up;
let browser: Awaited<ReturnType<typeof openBrowser>>;
let page: Page;
const complaints: string[] = [];

beforeAll(async () => {
  [up, browser] = await Promise.all([startUp(), openBrowser()]);
  page = await browser.newPage();
  page.setDefaultTimeout(soon);
  // What the policy of the server forbids, and what breaks, is told in the console of the browser.
  page.on("pageerror", (error) => complaints.push(error.message));
  page.on("console", (message) => message.type() === "error" && !message.location().url.includes("/plumb.v1.") && complaints.push(message.text()));
});
afterAll(async () => {
  await browser?.quit();
  await up?.stop();
});

// What a failure looked like is kept where the Makefile keeps what runs printed.
afterEach(async ({ task }) => {
  const out = process.env.PLUMB_E2E_OUT;
  if (out && task.result?.state === "fail") await page.screenshot({ path: join(out, `e2e-${task.name.replace(/[^a-z0-9]+/gi, "-")}.png`) });
});

test("signs in with the printed password", async () => {
  await page.goto(up.console);
  await page.getByRole("heading", { name: "Sign in to Plumb" }).waitFor();
  expect(await violationsOf(page)).toEqual([]);
  await page.getByRole("textbox", { name: "Password" }).fill("not the password");
  await page.getByRole("button", { name: "Sign in", exact: true }).click();
  await page.getByText("invalid username or password").waitFor();
  await page.getByRole("textbox", { name: "Password" }).fill(up.password);
  await page.getByRole("button", { name: "Sign in", exact: true }).click();
  await page.waitForURL("**/deliveries");
});

test("finds the sample delivery", async () => {
  await page.getByRole("grid", { name: "Deliveries" }).getByRole("link", { name: /sample/ }).click();
  await page.getByRole("heading", { name: "sample", level: 1 }).waitFor();
  await healthy();
});

test("breaks it by a commit, and sees why", async () => {
  up.repository.edit("overlays/local/kustomization.yaml", /newTag: .*/, "newTag: missing");
  up.repository.commit("Try the next version");
  const why = page.getByRole("region", { name: "Why" });
  await why.getByText(/image/i).first().waitFor();
  await why.getByText("Try the next version").first().waitFor();
  expect(await why.textContent()).toMatch(/image/i);
  expect(await why.textContent()).toContain("base/deployment.yaml");
  expect(await violationsOf(page)).toEqual([]);
});

test("takes it back by a commit", async () => {
  up.repository.revert();
  await page.getByText('Revert "Try the next version"').first().waitFor();
  await healthy();
  await page.getByRole("navigation", { name: "Parts of the delivery" }).getByRole("link", { name: "History" }).click();
  await page.getByText("Try the next version").first().waitFor();
});

test("rolls an Application back in the browser", async () => {
  // What the sample delivers moves below another Kustomization, whose namespace is not for Applications.
  for (const file of ["kustomization.yaml", "namespace.yaml"]) up.repository.move(`overlays/local/${file}`, `overlays/hello/${file}`);
  up.repository.write("overlays/local/kustomization.yaml", "resources: [../hello, shop.yaml]\n");
  up.repository.write("overlays/local/shop.yaml", shop(up.repository.url));
  up.repository.write("shop/page.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: page, namespace: default}\ndata: {text: hello}\n");
  up.repository.commit("Open a shop");
  await page.goto(`${up.console}/deliveries/flux-kustomization/flux-system/sample`);
  await page.locator("header").getByText("Open a shop").waitFor();
  await page.getByRole("row", { name: /Application/ }).waitFor();
  await page.goto(`${up.console}/deliveries/argo-application/argocd/shop`);
  await page.locator("header").getByText("Open a shop").waitFor();
  await healthy();

  up.repository.edit("shop/page.yaml", "text: hello", "text: broken");
  up.repository.commit("Close the shop");
  await act(page, "Refresh");
  await page.locator("header").getByText("Close the shop").waitFor();
  await page.getByRole("navigation", { name: "Parts of the delivery" }).getByRole("link", { name: "History" }).click();
  await page.getByRole("button", { name: "Roll back…" }).and(page.locator(":not([aria-disabled=true])")).first().click();
  await confirm(page, "Roll back");
  await page.getByText(/is in quarantine/).waitFor();
  await page.goto(`${up.console}/deliveries/argo-application/argocd/shop/manifest?object=${encodeURIComponent("/ConfigMap/default/page")}&pane=live`);
  await page.getByText("text: hello").first().waitFor();
});

test("finds in the activity who came from where", async () => {
  await page.goto(`${up.console}/activity`);
  const row = page.getByRole("row").filter({ hasText: "signed in" }).filter({ hasText: "Succeeded" }).first();
  await row.waitFor();
  expect(await row.textContent()).toContain("admin");
  expect(await row.textContent()).toContain("127.0.0.1");
});

// Every page, and what shows that it is all there.
const delivery = "/deliveries/flux-kustomization/flux-system/sample";
const source = "/sources/source.toolkit.fluxcd.io/GitRepository/flux-system/sample";
const pages: Record<string, (page: Page) => Promise<void>> = {
  "/deliveries": (p) => p.getByRole("row", { name: /sample/ }).waitFor(),
  "/deliveries?view=tiles": (p) => p.getByRole("link", { name: "sample" }).waitFor(),
  [`${delivery}/overview`]: (p) => p.getByRole("row", { name: /Deployment/ }).waitFor(),
  [`${delivery}/graph`]: (p) => p.locator("[data-graph] [data-item]").nth(3).waitFor(),
  [`${delivery}/diff`]: (p) => p.getByRole("heading", { level: 1 }).waitFor(),
  [`${delivery}/history`]: (p) => p.getByText(/objects? changed/).first().waitFor(),
  [`${delivery}/events`]: (p) => p.getByRole("heading", { level: 1 }).waitFor(),
  [`${delivery}/logs`]: (p) => p.getByRole("heading", { level: 1 }).waitFor(),
  [`${delivery}/manifest`]: (p) => p.getByText("kustomize.toolkit.fluxcd.io").first().waitFor(),
  "/sources": (p) => p.getByRole("row", { name: /sample/ }).waitFor(),
  [source]: (p) => p.getByRole("region", { name: "Conditions" }).or(p.getByRole("heading", { name: "Conditions" })).first().waitFor(),
  [`${source}/readers`]: (p) => p.getByRole("row", { name: /sample/ }).waitFor(),
  [`${source}/manifest`]: (p) => p.getByText("source.toolkit.fluxcd.io").first().waitFor(),
  "/applicationsets": (p) => p.getByText("There are no ApplicationSets").waitFor(),
  "/clusters": (p) => p.getByRole("row", { name: /in-cluster/ }).waitFor(),
  "/projects": (p) => p.getByText(/projects?$/).first().waitFor(),
  "/activity": (p) => p.getByText("signed in").first().waitFor(),
  "/settings": (p) => p.getByRole("heading", { name: "Settings" }).waitFor(),
};
test.each(Object.entries(pages))("%s has nothing that axe finds serious", async (path, whole) => {
  await page.goto(up.console + path);
  await whole(page);
  expect(await violationsOf(page)).toEqual([]);
});

test("finds an object from the keyboard, and signs out", async () => {
  await page.goto(`${up.console}/deliveries`);
  await page.getByRole("row", { name: /sample/ }).waitFor();
  await page.keyboard.press("Control+k");
  await page.getByRole("combobox", { name: "Search everything" }).fill("hello");
  await page.getByRole("option", { name: /hello.*Deployment/ }).first().waitFor();
  expect(await violationsOf(page)).toEqual([]);
  await page.keyboard.press("Escape");
  await page.getByRole("button", { name: /Signed in as/ }).click();
  await page.getByRole("menuitem", { name: "Sign out" }).click();
  await page.getByRole("heading", { name: "Sign in to Plumb" }).waitFor();
});

test("nothing broke on the way, and nothing was forbidden", () => {
  expect(complaints).toEqual([]);
});

function shop(repository: string): string {
  return `apiVersion: argoproj.io/v1alpha1
kind: Application
metadata: {name: shop, namespace: argocd}
spec:
  project: default
  source: {repoURL: "${repository}", path: shop, targetRevision: main}
  destination: {server: "https://kubernetes.default.svc", namespace: default}
  syncPolicy: {automated: {}}
`;
}

async function healthy() {
  await page.locator("header").getByText("Healthy", { exact: true }).first().waitFor();
}
