import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";

// Stories in a real browser against plumb up: `make e2e`.
export default defineConfig({
  resolve: { alias: { "~": fileURLToPath(new URL("../../src", import.meta.url)) } },
  test: { include: ["e2e/cluster/**/*.story.ts"], testTimeout: 90_000, hookTimeout: 120_000, fileParallelism: false, bail: 1 },
});
