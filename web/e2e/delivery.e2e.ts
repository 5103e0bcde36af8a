// The page of a delivery in a real browser: axe on all of its tabs, the graph by
// keyboard and with 2,000 objects, the object panel.
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { deliveryPath, keyOf, refOf, type DeliveryTab } from "../src/api/refs";
import type { Delivery } from "../src/gen/plumb/v1/deliveries_pb";
import { workloadOf } from "../mock/parts";
import { violationsOf } from "./axe";
import { openBrowser, sizes, startMock } from "./browser";

let mock: Awaited<ReturnType<typeof startMock>>;
beforeAll(async () => void (mock = await startMock({ signedIn: true, count: 1_500 })));
afterAll(() => mock.stop());

const find = (fits: (d: Delivery) => boolean) => mock.world.deliveries.find(fits)!;
const failed = () => find((d) => d.reason === "HealthCheckFailed" && d.ref!.kind === "Kustomization" && d.objects > 8);
const application = () => find((d) => d.ref!.kind === "Application" && d.labels.env === "prod" && !d.hold);
const deployment = (d: Delivery) => keyOf(refOf({ group: "apps", kind: "Deployment", namespace: d.targetNamespace, name: workloadOf(d) }));
const at = (d: Delivery, tab: DeliveryTab, query = "") => mock.url + deliveryPath(d.ref!, tab) + query;

describe.each(["desktop", "phone"] as const)("on a %s", (size) => {
  it("has nothing that axe finds serious", { timeout: 300_000 }, async () => {
    const browser = await openBrowser({ viewport: sizes[size] });
    const page = await browser.newPage();
    const errors: string[] = [];
    page.on("pageerror", (error) => errors.push(error.message));
    const d = failed();
    const object = `?object=${encodeURIComponent(deployment(d))}`;
    const serious: string[] = [];
    const look = async (address: string, whole: string) => {
      await page.goto(address);
      await page.locator(whole).first().waitFor();
      serious.push(...(await violationsOf(page)));
    };
    await look(at(d, "overview"), "section[aria-label=Why] h2");
    await look(at(d, "graph", object), "#object-panel pre, #object-panel code, dialog code");
    await look(at(d, "diff"), "text=Compare again");
    await look(at(d, "events"), "time:visible");
    await look(at(d, "logs"), "[role=log]");
    await look(at(d, "manifest"), "[role=region] code");
    await look(at(find((d) => !!d.hold), "overview"), "section[aria-label*='wait to be deleted']");
    await look(at(application(), "history"), "main ol");
    await page.getByRole("button", { name: "Compare", exact: true }).first().click();
    await page.getByRole("button", { name: "Compare with this" }).last().click();
    await page.getByRole("list", { name: "Objects that changed" }).waitFor();
    serious.push(...(await violationsOf(page)));
    await page.getByRole("group", { name: "Actions" }).getByRole("button", { name: "Sync" }).click();
    const window = page.getByRole("dialog");
    for (const part of ["Objects", "Options"]) await window.locator("summary", { hasText: part }).click();
    await window.getByText("Server-side apply").waitFor();
    serious.push(...(await violationsOf(page)));
    await browser.quit();
    expect(serious).toEqual([]);
    expect(errors).toEqual([]);
  });
});

describe("the graph", () => {
  it("is walked through and opened by keyboard, and closed again", async () => {
    const browser = await openBrowser();
    const page = await browser.newPage();
    const d = failed();
    await page.goto(at(d, "graph"));
    const focused = () => page.evaluate(() => document.activeElement?.getAttribute("data-item"));
    await page.locator("[data-graph] [data-item][tabindex='0']").focus();
    expect(await focused()).toBe(keyOf(d.ref));
    await page.keyboard.press("ArrowRight");
    await expect.poll(focused).toBe(deployment(d));
    await page.keyboard.press("Enter");
    const panel = page.getByRole("complementary", { name: `Deployment ${workloadOf(d)}` });
    await panel.waitFor();
    expect(new URL(page.url()).searchParams.get("object")).toBe(deployment(d));
    expect(await focused()).toBe(deployment(d));
    await page.keyboard.press("Escape");
    await panel.waitFor({ state: "detached" });
    expect(await focused()).toBe(deployment(d));
    await browser.quit();
  });

  it("renders only what is seen of 2,000 objects, near and from afar", async () => {
    const browser = await openBrowser();
    const page = await browser.newPage();
    const big = find((d) => d.ref!.kind === "Kustomization" && d.health?.state === "Healthy");
    mock.world.change(big, (d) => (d.objects = 3_000));
    await page.goto(at(big, "graph", "?fold=no"));
    const cards = page.locator("[data-graph] [data-item]");
    await cards.first().waitFor();
    expect(Number(/\d+/.exec((await page.getByText(/^\d+ objects$/).textContent())!)![0])).toBeGreaterThan(1_500);
    const near = await cards.count();
    expect(near).toBeGreaterThan(5);
    expect(near).toBeLessThan(80);
    await page.keyboard.press("f");
    await expect.poll(() => cards.count()).toBeLessThan(5);
    await browser.quit();
  });
});
