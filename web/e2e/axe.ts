// What axe finds on a page, in both themes.
import AxeBuilder from "@axe-core/playwright";
import type { Page } from "playwright-core";

const themes = ["light", "dark"] as const;
const levels = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"];
// What depends on colours; the rest is the same in both themes.
const colours = ["color-contrast", "link-in-text-block"];

// violationsOf lists what is serious, one line each; nothing is what one wants.
export async function violationsOf(page: Page): Promise<string[]> {
  const found: string[] = [];
  for (const theme of themes) {
    await page.emulateMedia({ colorScheme: theme, reducedMotion: "reduce" });
    await page.waitForFunction((wanted) => document.documentElement.dataset.theme === wanted, theme);
    // There are no frames, for which axe would open a page of its own (legacy mode does not).
    const axe = new AxeBuilder({ page }).setLegacyMode();
    const { violations } = await (theme === themes[0] ? axe.withTags(levels) : axe.withRules(colours)).analyze();
    for (const v of violations) {
      if (v.impact !== "serious" && v.impact !== "critical") continue;
      found.push(`${new URL(page.url()).pathname} ${theme}: ${v.id}: ${v.nodes.map((n) => n.target.join(" ")).slice(0, 3).join(", ")}`);
    }
  }
  return found;
}
