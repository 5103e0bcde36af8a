// The pictures of docs/guides/console.md, above the mock server: `npm run pictures`.
import { mkdirSync, statSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { join } from "node:path";
import type { Page } from "playwright-core";
import { deliveryPath } from "../src/api/refs";
import type { Delivery } from "../src/gen/plumb/v1/deliveries_pb";
import { openBrowser, sizes, startMock } from "./browser";

const folder = fileURLToPath(new URL("../../docs/images", import.meta.url));
// A picture that is larger than this makes the repository heavy.
const most = 250 * 1024;

const mock = await startMock({ signedIn: true });
// newest is the one of a kind that changed last: people look at what has just happened.
function newest(kind: string, fits: (d: Delivery) => boolean): Delivery {
  const found = mock.world.deliveries.filter((d) => d.ref?.kind === kind && !d.hold && !d.running && fits(d));
  if (found.length === 0) throw new Error(`the generated world has no such ${kind}`);
  return found.reduce((a, b) => (b.changed!.seconds > a.changed!.seconds ? b : a));
}
const broken = newest("Kustomization", (d) => d.reason === "HealthCheckFailed" && d.objects > 10 && d.objects < 30);
const crashing = newest("Application", (d) => d.reason === "CrashLoopBackOff");
const drifted = newest("Application", (d) => d.sync === "OutOfSync" && d.outOfSync > 1 && d.health?.state === "Healthy");
const link = (name: RegExp) => (page: Page) => page.getByRole("link", { name }).first().waitFor();
const pictures: Record<string, { path: string; whole: (page: Page) => Promise<unknown> }> = {
  deliveries: { path: "/deliveries", whole: (page) => page.locator('[role=row] a[href^="/deliveries/"]').nth(8).waitFor() },
  delivery: { path: deliveryPath(broken.ref!), whole: (page) => page.getByRole("region", { name: "Why" }).getByRole("heading").first().waitFor() },
  graph: { path: deliveryPath(broken.ref!, "graph"), whole: (page) => page.locator("[data-graph] [data-item]").nth(3).waitFor() },
  history: { path: deliveryPath(crashing.ref!, "history"), whole: (page) => page.getByRole("heading", { level: 2 }).first().waitFor() },
  sync: { path: deliveryPath(drifted.ref!), whole: async (page) => {
    await page.getByRole("group", { name: "Actions" }).getByRole("button", { name: "Sync" }).click();
    await page.getByRole("dialog").locator("summary").nth(2).waitFor();
  } },
  sources: { path: "/sources", whole: link(/deploy/) },
  applicationsets: { path: "/applicationsets?open=ApplicationSet%2Fargocd%2Fpayments-fleet", whole: link(/payments-/) },
  activity: { path: "/activity", whole: (page) => page.getByText("delivered").first().waitFor() },
};

mkdirSync(folder, { recursive: true });
try {
  for (const theme of ["light", "dark"] as const) {
    const browser = await openBrowser({ viewport: sizes.desktop, colorScheme: theme, reducedMotion: "reduce" });
    const page = await browser.newPage();
    for (const [name, { path, whole }] of Object.entries(pictures)) {
      await page.goto(mock.url + path);
      await whole(page);
      await page.locator("[aria-busy=true]").first().waitFor({ state: "detached" });
      await page.locator("header [data-state=connecting]").waitFor({ state: "detached" });
      await page.evaluate(() => document.fonts.ready);
      const file = join(folder, `console-${name}-${theme}.png`);
      await page.screenshot({ path: file, animations: "disabled" });
      const { size } = statSync(file);
      console.log(`${file} ${Math.round(size / 1024)} KiB`);
      if (size > most) throw new Error(`${file} is larger than ${most} bytes`);
    }
    await browser.quit();
  }
} finally {
  mock.stop();
}
