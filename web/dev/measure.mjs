/**
 * How much of a second the page works while many symbols tick: the stand-in sends, Chromium counts.
 *
 *     npm run measure -- --symbols 200 --hz 5 --seconds 10
 */
import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { chromium } from "@playwright/test";
import { launchOptions } from "./chromium.mjs";

const { values } = parseArgs({ options: { symbols: { type: "string", default: "200" }, hz: { type: "string", default: "5" }, seconds: { type: "string", default: "10" }, port: { type: "string", default: "8395" } } });
const seconds = Number(values.seconds);
const server = spawn("node", [fileURLToPath(new URL("stand-in.mjs", import.meta.url)), "--port", values.port, "--symbols", values.symbols, "--hz", values.hz, "--bar-seconds", "5"], { stdio: ["ignore", "ignore", "inherit"] });
const browser = await chromium.launch(launchOptions);
try {
  for (const view of ["watchlist", "", "symbol/AAPL", "portfolio"]) console.log(JSON.stringify(await measured(view)));
} finally {
  await browser.close();
  server.kill();
}

/** @param {string} view */
async function measured(view) {
  const page = await browser.newPage({ viewport: { width: 1440, height: 900 } });
  const url = `http://127.0.0.1:${values.port}/${view}`;
  for (let tries = 0; ; tries++) {
    try {
      await page.goto(url);
      break;
    } catch (error) {
      if (tries > 50) throw error;
      await new Promise((wake) => setTimeout(wake, 200));
    }
  }
  await page.locator("[data-freshness=fresh]").waitFor();
  const client = await page.context().newCDPSession(page);
  await client.send("Performance.enable");
  const read = async () => Object.fromEntries((await client.send("Performance.getMetrics")).metrics.map(({ name, value }) => [name, value]));
  await new Promise((wake) => setTimeout(wake, 2000));
  const before = await read();
  const frames = page.evaluate((ms) => new Promise((tell) => {
    let [count, longest, last] = [0, 0, performance.now()];
    const end = last + ms;
    const next = (/** @type {number} */ now) => {
      count += 1;
      longest = Math.max(longest, now - last);
      last = now;
      if (now < end) requestAnimationFrame(next);
      else tell({ frames_per_second: Math.round((count / ms) * 1000), longest_frame_ms: Math.round(longest) });
    };
    requestAnimationFrame(next);
  }), seconds * 1000);
  const smooth = await frames;
  const after = await read();
  const rows = await page.locator("[data-price]").count();
  await page.close();
  const per = (/** @type {string} */ name) => Math.round(((after[name] - before[name]) / seconds) * 1000);
  return { view: `/${view}`, prices_shown: rows, updates_per_second: Number(values.symbols) * Number(values.hz), scripting_ms_per_second: per("ScriptDuration"), style_and_layout_ms_per_second: per("RecalcStyleDuration") + per("LayoutDuration"), work_ms_per_second: per("TaskDuration"), ...smooth, heap_mb: Math.round(after["JSHeapUsedSize"] / 1e6) };
}
