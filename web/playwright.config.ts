import { defineConfig } from "@playwright/test";
import { launchOptions } from "./dev/chromium.mjs";

export default defineConfig({
  testDir: "tests/e2e",
  outputDir: "test-results",
  workers: 1, // one server, which is halted, frozen and killed
  timeout: 60_000,
  expect: { timeout: 15_000 },
  reporter: [["list"]],
  use: { viewport: { width: 1440, height: 900 }, trace: "retain-on-failure", launchOptions },
});
