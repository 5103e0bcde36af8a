// Screenshots of the console above the mock server:
// npx tsx e2e/shots.ts FOLDER [--size desktop,tablet,phone] [--theme light,dark] [PATH…]
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { openBrowser, sizes, startMock } from "./browser";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { size: { type: "string", default: "desktop" }, theme: { type: "string", default: "light,dark" }, "signed-out": { type: "boolean", default: false }, keys: { type: "string", default: "" }, wait: { type: "string", default: "900" } },
});
const [folder = "/tmp/console", ...paths] = positionals;
mkdirSync(folder, { recursive: true });

const mock = await startMock({ signedIn: !values["signed-out"] });
try {
  for (const size of values.size.split(",") as (keyof typeof sizes)[]) {
    for (const theme of values.theme.split(",") as ("light" | "dark")[]) {
      const browser = await openBrowser({ viewport: sizes[size], colorScheme: theme, hasTouch: size === "phone", isMobile: size === "phone" });
      const page = await browser.newPage();
      page.on("console", (message) => ["error", "warning"].includes(message.type()) && console.log(message.text()));
      page.on("pageerror", (error) => console.log(error.message));
      for (const path of paths.length > 0 ? paths : ["/deliveries"]) {
        await page.goto(mock.url + path);
        await page.waitForTimeout(Number(values.wait));
        for (const key of values.keys.split(" ").filter(Boolean)) await page.keyboard.press(key);
        if (values.keys) await page.waitForTimeout(600);
        const name = path.replace(/[^a-z0-9]+/gi, "-").replace(/^-|-$/g, "") || "root";
        await page.screenshot({ path: join(folder, `${name}-${size}-${theme}.png`) });
      }
      await browser.quit();
    }
  }
} finally {
  mock.stop();
}
