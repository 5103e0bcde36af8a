import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";

// Tests in a real browser against the mock server and the built console:
// `npm run build && npm run e2e`.
export default defineConfig({
  resolve: { alias: { "~": fileURLToPath(new URL("../src", import.meta.url)) } },
  test: { include: ["e2e/**/*.e2e.ts"], testTimeout: 120_000, hookTimeout: 120_000, fileParallelism: false },
});
