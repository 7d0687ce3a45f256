/** What every test has: a server that runs, and a page that is watched for errors and for words to strangers. */
import { test as base, expect } from "@playwright/test";
import type { Page } from "@playwright/test";
import { Server } from "./server";

interface Known {
  symbols: string[];
}

interface Fixtures {
  /** Errors that a test expects, as parts of their texts. */
  expected: string[];
}

interface Shared {
  server: Server;
  known: Known;
}

export const test = base.extend<Fixtures, Shared>({
  server: [
    // eslint-disable-next-line no-empty-pattern
    async ({}, use) => {
      const server = await Server.main();
      await server.start();
      await use(server);
      await server.kill();
    },
    { scope: "worker", timeout: 200_000 },
  ],
  known: [
    async ({ server }, use) => {
      await expect(async () => expect((await server.get<{ items: unknown[] }>("/signals")).items.length).toBeGreaterThan(0)).toPass({ timeout: 180_000 });
      const { items } = await server.get<{ items: { symbol: string }[] }>("/symbols");
      await use({ symbols: items.map(({ symbol }) => symbol) });
    },
    { scope: "worker", timeout: 200_000 },
  ],
  expected: [[], { option: true }],
  baseURL: async ({ server }, use) => use(server.url),
  page: async ({ page, baseURL, expected }, use) => {
    const wrong: string[] = [];
    const ours = "willReadFrequently"; // what `pixels` below is told
    const note = (text: string) => [ours, ...expected].some((part) => text.includes(part)) || wrong.push(text);
    page.on("pageerror", (error) => note(`error: ${error.message}`));
    page.on("console", (message) => ["error", "warning"].includes(message.type()) && note(`console: ${message.text()}`));
    page.on("request", (request) => /^(https?|wss?):/.test(request.url()) && new URL(request.url()).host !== new URL(baseURL ?? "").host && note(`a request elsewhere: ${request.url()}`));
    await use(page);
    expect(wrong, "errors, refusals of the content policy, and requests to other machines").toEqual([]);
  },
});

export { expect };

export const VIEWS = ["/", "/symbol", "/watchlist", "/portfolio", "/models", "/system"];

/** Open a view and wait until it shows what is live. */
export async function open(page: Page, path: string): Promise<void> {
  await page.goto(path);
  await expect(page.locator("[data-freshness]")).toHaveAttribute("data-freshness", "fresh");
  await expect(page.locator("main h1")).toBeVisible();
  await expect(page.locator("main .waiting")).toHaveCount(0);
}

/** Count the pixels of a chart's canvases that are of a hue. */
export async function pixels(page: Page, chart: string, hue: "blue" | "seats" | "any"): Promise<number> {
  return page.locator(`${chart} canvas`).evaluateAll((canvases, wanted) => {
    let found = 0;
    for (const canvas of canvases as HTMLCanvasElement[]) {
      const context = canvas.getContext("2d");
      if (!context || !canvas.width || !canvas.height) continue;
      const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
      for (let at = 0; at < data.length; at += 4) {
        const [r = 0, g = 0, b = 0, alpha = 0] = data.slice(at, at + 4);
        if (!alpha) continue;
        if (wanted === "blue" ? b > r + 20 && g > r + 4 : wanted === "seats" ? (b > g + 40 && r > g + 12) || (r > g + 30 && g > b + 30) : Math.max(r, g, b) - Math.min(r, g, b) > 40) found += 1;
      }
    }
    return found;
  }, hue);
}
