/// <reference types="vitest/config" />
import { fileURLToPath } from "node:url";
import react from "@vitejs/plugin-react";
import { defineConfig, type Plugin } from "vite";

// Where `npm run dev` finds the API: the mock server, or a real one.
const api = process.env.PLUMB_API ?? "http://127.0.0.1:7420";

// React Aria brings its words in 34 languages; the console speaks one of them.
const otherLanguages = /react-(?:aria|stately)[^?]*\/intl\/(?:.*\/)?(?!en-US)[a-z]{2}-[A-Z]{2}\.mjs$/;
const oneLanguage: Plugin = {
  name: "one-language",
  load: { filter: { id: otherLanguages }, handler: () => "export default {}" },
};

export default defineConfig({
  plugins: [react(), oneLanguage],
  resolve: { alias: { "~": fileURLToPath(new URL("./src", import.meta.url)) } },
  build: {
    outDir: process.env.CONSOLE_DIST ?? "../internal/web/dist",
    emptyOutDir: true,
    assetsDir: "assets",
    // The policy of the server allows no data: fonts or scripts.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    target: "es2022",
    chunkSizeWarningLimit: 700,
  },
  server: {
    port: 7421,
    proxy: { "/plumb.v1.": api, "/auth": api },
  },
  test: {
    environment: "happy-dom",
    setupFiles: ["test/setup.ts"],
    include: ["src/**/*.test.{ts,tsx}", "mock/**/*.test.ts"],
    restoreMocks: true,
    testTimeout: 40_000,
  },
});
