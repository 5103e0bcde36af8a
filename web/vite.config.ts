/// <reference types="vitest/config" />
import { fileURLToPath } from "node:url";
import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";

// Where `npm run dev` finds the API: the mock server, or a real one.
const api = process.env.PLUMB_API ?? "http://127.0.0.1:7420";
// It takes calls from pages of the address that it is asked at only: that stays as the browser has it.
const asAsked = { target: api, changeOrigin: false };

// What the list of deliveries is made of comes in one piece, since everybody
// needs it first, and what others wrote in another, which upgrades seldom change.
const first = /\/src\/(?:api|app|gen|theme|pages\/deliveries|parts\/(?!(?:action|conditions|diff|fault|list|object|panel|yaml)\/))/;
const later = /(?:Palette|KeyboardHelp|Acting|ActionDialog)\.(?:tsx|module\.css)$/;
const groups = [
  { name: "libraries", test: /\/node_modules\// },
  { name: "first", test: (id: string) => first.test(id) && !later.test(id) },
];

export default defineConfig({
  plugins: [react()],
  resolve: { alias: { "~": fileURLToPath(new URL("./src", import.meta.url)) } },
  build: {
    // Empty is as good as unset: the output folder is emptied, and must never be this one.
    outDir: process.env.CONSOLE_DIST || "../internal/web/dist",
    emptyOutDir: true,
    assetsDir: "assets",
    // The policy of the server allows no data: fonts or scripts.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    target: "es2022",
    chunkSizeWarningLimit: 700,
    rolldownOptions: { output: { codeSplitting: { groups } } },
  },
  server: {
    port: 7421,
    proxy: { "/plumb.v1.": asAsked, "/auth": asAsked },
  },
  test: {
    environment: "happy-dom",
    setupFiles: ["test/setup.ts"],
    include: ["src/**/*.test.{ts,tsx}", "mock/**/*.test.ts"],
    restoreMocks: true,
    testTimeout: 90_000,
  },
});
