// A browser, and the mock server with the built console, for e2e tests and screenshots.
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connectNodeAdapter } from "@connectrpc/connect-node";
import { chromium, type BrowserContext, type BrowserContextOptions } from "playwright-core";
import { serveConsole } from "../mock/console";
import { routes, type MockOptions } from "../mock/services";
import { World } from "../mock/world";

const flags = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"];

export const sizes = { desktop: { width: 1440, height: 900 }, tablet: { width: 820, height: 1180 }, phone: { width: 390, height: 844 } } as const;

// startMock serves the console and a generated world on a free port.
export async function startMock({ count = 5_000, ...options }: MockOptions & { count?: number } = {}) {
  const world = new World(count);
  const server = createServer(connectNodeAdapter({ routes: routes(world, options), fallback: serveConsole }));
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return { url, world, dropConnections: () => server.closeAllConnections(), stop: () => (server.closeAllConnections(), server.close()) };
}

// openBrowser starts Chromium with a profile of its own, which is gone afterwards.
export async function openBrowser(options: BrowserContextOptions = {}): Promise<BrowserContext & { quit: () => Promise<void> }> {
  const profile = mkdtempSync(join(tmpdir(), "plumb-console-"));
  const context = await chromium.launchPersistentContext(profile, {
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    headless: true,
    args: flags,
    viewport: sizes.desktop,
    ...options,
  });
  const quit = async () => {
    await context.close();
    rmSync(profile, { recursive: true, force: true });
  };
  return Object.assign(context, { quit });
}
