// What people do in the console, whichever story they are in.
import type { Page } from "playwright-core";

// signIn begins anew as somebody else.
export async function signIn(page: Page, console: string, name: string, password: string) {
  await page.context().clearCookies();
  await page.goto(console);
  await page.getByRole("textbox", { name: "Name" }).fill(name);
  await page.getByRole("textbox", { name: "Password" }).fill(password);
  await page.getByRole("button", { name: "Sign in", exact: true }).click();
  await page.waitForURL("**/deliveries");
}

// act does what a button of the header says, after its preview.
export async function act(page: Page, name: string) {
  await page.getByRole("group", { name: "Actions" }).getByRole("button", { name }).click();
  await confirm(page, name);
}

export async function confirm(page: Page, name: string) {
  const window = page.getByRole("dialog");
  await window.getByRole("button", { name, exact: true }).click();
  await window.waitFor({ state: "detached" });
}
