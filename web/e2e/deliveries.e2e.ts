// The list of deliveries and the sign-in page in a real browser: keyboard,
// address, live changes without jumps, accessibility, and the content security policy.
import type { Page } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { settle, fail } from "../mock/deliveries";
import { Random } from "../mock/random";
import { violationsOf } from "./axe";
import { openBrowser, sizes, startMock } from "./browser";

const soon = 15_000;
const rows = '[role=row] a[href^="/deliveries/"]';
let mock: Awaited<ReturnType<typeof startMock>>;
let browser: Awaited<ReturnType<typeof openBrowser>>;
const complaints: string[] = [];

beforeAll(async () => {
  mock = await startMock({ count: 600 });
  browser = await openBrowser();
});
afterAll(async () => {
  await browser?.quit();
  mock?.stop();
});

async function open(path: string): Promise<Page> {
  const page = await browser.newPage();
  page.setDefaultTimeout(soon);
  page.on("pageerror", (error) => complaints.push(error.message));
  page.on("console", (message) => message.type() === "error" && !message.text().includes("401") && complaints.push(message.text()));
  await page.goto(mock.url + path);
  return page;
}

test("signing in leads back to what was asked for", async () => {
  const page = await open("/deliveries?health=Degraded");
  await page.getByRole("heading", { name: "Sign in to Plumb" }).waitFor();
  expect(await violationsOf(page)).toEqual([]);
  await page.getByLabel("Password", { exact: true }).fill("plumb");
  await page.keyboard.press("Enter");
  await page.waitForURL("**/deliveries?health=Degraded");
  await page.locator(rows).first().waitFor();
  await page.close();
});

test.each(["/deliveries", "/deliveries?view=tiles", "/deliveries?group=health", "/deliveries?q=nothing-like-this"])("axe finds nothing serious on %s", async (path) => {
  const page = await open(path);
  await page.getByText(/^[\d,]+ deliver(y|ies)$/).last().waitFor();
  await page.getByText("No delivery matches").or(page.locator('a[href^="/deliveries/"]')).first().waitFor();
  expect(await violationsOf(page)).toEqual([]);
  await page.close();
});

test.each([["?", "Keyboard"], ["Control+k", "Search everything"]] as const)("the window that %s opens is accessible, and Escape closes it", async (key, name) => {
  const page = await open("/deliveries");
  await page.locator(rows).first().waitFor();
  await page.keyboard.press(key);
  await page.getByRole("dialog", { name }).waitFor();
  expect(await violationsOf(page)).toEqual([]);
  await page.keyboard.press("Escape");
  await page.getByRole("dialog").waitFor({ state: "detached" });
  await page.close();
});

test("a phone shows all of it, and nothing is wider than it", async () => {
  const page = await open("/deliveries");
  await page.setViewportSize(sizes.phone);
  await page.getByRole("navigation", { name: "Main pages" }).waitFor();
  expect(await violationsOf(page)).toEqual([]);
  expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(sizes.phone.width);
  await page.close();
});

test("rows are walked, chosen, suspended and opened by the keyboard alone", async () => {
  const page = await open("/deliveries?dialect=flux&health=Healthy&sync=Synced&suspended=false");
  await page.locator(rows).nth(3).waitFor();
  await page.keyboard.press("j");
  await page.keyboard.press("j");
  await page.keyboard.press("x");
  await page.keyboard.press("Shift+X");
  await page.getByText("1 selected").waitFor();
  await page.keyboard.press("p");
  const dialog = page.getByRole("dialog", { name: /^Suspend/ });
  await dialog.getByText(/^Nothing is delivered, and nothing is corrected/).waitFor();
  expect(await violationsOf(page)).toEqual([]);
  const before = mock.world.deliveries.filter((d) => d.suspended).length;
  await dialog.getByRole("button", { name: "Suspend", exact: true }).click();
  await dialog.waitFor({ state: "detached" });
  expect(mock.world.deliveries.filter((d) => d.suspended).length).toBe(before + 1);
  await page.getByRole("grid").focus().catch(() => undefined);
  await page.locator("[role=row][data-index]").nth(4).focus();
  await page.keyboard.press("Enter");
  await page.waitForURL(/\/deliveries\/(flux|argo)-/);
  await page.goBack();
  await page.waitForURL(/health=Healthy/);
  await page.close();
});

test("what changes in the cluster shows itself where it stands, and nothing moves", async () => {
  const page = await open("/deliveries?order=name");
  const first = page.locator(rows).first();
  await first.waitFor();
  await page.locator("header").getByRole("status").filter({ hasText: "Live" }).waitFor();
  await page.waitForTimeout(1_000);
  await page.evaluate(() => {
    const shifts: string[] = [];
    Object.assign(window, { shifts });
    new PerformanceObserver((list) => {
      for (const entry of list.getEntries() as unknown as { sources: { node: Node | null }[] }[])
        // How long ago it was is written anew, and ends where it ended: its beginning moves.
        for (const { node } of entry.sources.filter(({ node }) => node?.parentElement?.tagName !== "TIME")) shifts.push(`${node?.parentElement?.className}: ${node?.textContent?.slice(0, 40)}`);
    }).observe({ type: "layout-shift" });
  });
  const href = await first.getAttribute("href");
  const name = href!.split("/")[4]!;
  const namespace = href!.split("/")[3]!;
  const delivery = mock.world.deliveries.find((d) => d.ref!.name === name && d.ref!.namespace === namespace && href!.includes(d.ref!.kind.toLowerCase()))!;
  mock.world.change(delivery, (d) => fail(d, new Random("e2e")));
  const row = page.locator("[role=row]").filter({ has: page.locator(`a[href="${href}"]`) });
  await row.getByText(delivery.reason, { exact: true }).waitFor();
  mock.world.change(delivery, settle);
  await row.getByText("Healthy", { exact: true }).waitFor();
  expect(await page.evaluate(() => (window as unknown as { shifts: string[] }).shifts)).toEqual([]);
  await page.close();
});

test("filters, groups, order and views are in the address", async () => {
  const page = await open("/deliveries");
  await page.locator(rows).first().waitFor();
  await page.getByRole("complementary", { name: "Filters" }).getByRole("checkbox", { name: "Argo CD" }).check();
  await page.waitForURL(/dialect=argo/);
  await page.getByRole("button", { name: "Group by" }).click();
  await page.getByRole("menuitemradio", { name: "Cluster" }).click();
  await page.waitForURL(/group=cluster/);
  await page.keyboard.press("Escape");
  await page.getByRole("columnheader", { name: "Name" }).getByRole("button").click();
  await page.waitForURL(/order=name/);
  await page.keyboard.press("/");
  await page.keyboard.type("prod");
  await page.waitForURL(/q=prod/);
  await page.reload();
  await page.getByRole("row", { expanded: true }).first().waitFor();
  expect(await page.getByRole("searchbox", { name: "Search deliveries" }).inputValue()).toBe("prod");
  await page.close();
});

test("the stream that breaks begins again, and says so meanwhile", async () => {
  const page = await open("/deliveries");
  const sign = page.locator("header").getByRole("status");
  await sign.filter({ hasText: "Live" }).waitFor();
  await page.route("**/plumb.v1.DeliveryService/WatchDeliveries", (route) => route.abort());
  mock.dropConnections();
  await sign.filter({ hasText: "Reconnecting" }).waitFor();
  await page.unroute("**/plumb.v1.DeliveryService/WatchDeliveries");
  await sign.filter({ hasText: "Live" }).waitFor();
  await page.close();
});

test("the policy of the server forbade nothing, and nothing broke", () => {
  expect(complaints.filter((text) => !text.includes("ERR_FAILED") && !text.includes("ERR_INCOMPLETE") && !text.includes("ERR_EMPTY"))).toEqual([]);
});
