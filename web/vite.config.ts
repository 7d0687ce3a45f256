import react from "@vitejs/plugin-react";
import { defineConfig } from "vitest/config";

const server = process.env.TRADEWIND_WEB_URL ?? "http://127.0.0.1:8321";

export default defineConfig({
  plugins: [react()],
  build: {
    outDir: "../src/tradewind/server/page",
    emptyOutDir: true,
    target: "es2022",
    assetsInlineLimit: 0, // nothing inline: the page's content security policy allows files of this server only
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
  },
  server: { proxy: { "/api": server, "/ws": { target: server, ws: true } } },
  test: { include: ["tests/unit/**/*.test.ts"], environment: "node" },
});
