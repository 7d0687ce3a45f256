import { expect, open, test } from "./kit";
import { Server } from "./server";

/** What a browser says by itself when a server is gone. */
const GONE = ["ERR_CONNECTION", "WebSocket connection", "Failed to load resource", "ERR_EMPTY_RESPONSE", "ERR_SOCKET"];

test.describe("the server falls silent", () => {
  test.use({ expected: GONE });

  test("frozen: the page says stale after five seconds, with its age, and recovers by itself", async ({ page, server, known }) => {
    test.skip(!server.ours, "TRADEWIND_WEB_COMMAND is not set: the server is not ours to freeze");
    expect(known.symbols.length).toBeGreaterThan(0);
    await open(page, "/watchlist");
    server.signal("SIGSTOP");
    try {
      await expect(page.locator("[data-freshness]")).toHaveAttribute("data-freshness", "stale");
      await expect(page.locator("[data-freshness]")).toContainText(/stale: silent for \d+ s/);
      await expect(page.locator(".banner.past")).toContainText("What you see is as of");
    } finally {
      server.signal("SIGCONT");
    }
    await expect(page.locator("[data-freshness]")).toHaveAttribute("data-freshness", "fresh", { timeout: 30_000 });
    await expect(page.locator(".banner.past")).toHaveCount(0);
  });

  test("killed and started again: offline is said, then all comes back, nothing twice", async ({ page, server, known }) => {
    test.skip(!server.ours, "TRADEWIND_WEB_COMMAND is not set: the server is not ours to kill");
    test.setTimeout(240_000);
    await open(page, "/watchlist");
    await expect(page.locator("tbody th .symbol")).toHaveCount(known.symbols.length);
    await server.kill();
    await expect(page.locator("[data-freshness]")).toHaveAttribute("data-freshness", "offline");
    await expect(page.locator("[data-freshness]")).toContainText(/next try|trying/);
    await expect(page.getByRole("button", { name: "Try now" })).toBeVisible();
    await expect(page.locator("tbody th .symbol")).toHaveCount(known.symbols.length);
    await server.start();
    await expect(page.locator("[data-freshness]")).toHaveAttribute("data-freshness", "fresh", { timeout: 120_000 });
    await expect(page.locator("tbody th .symbol")).toHaveCount(known.symbols.length);
    const before = await page.locator("table").innerText();
    await expect.poll(() => page.locator("table").innerText(), { timeout: 30_000 }).not.toBe(before);
    await page.goto("/");
    await expect(page.locator("[data-freshness]")).toHaveAttribute("data-freshness", "fresh");
    const { items } = await server.get<{ items: { symbol: string }[] }>("/positions");
    expect(new Set(items.map(({ symbol }) => symbol)).size).toBe(items.length);
  });
});

/** Run a test against a stand-in with options of its own. */
function against(...options: string[]) {
  let server: Server;
  test.beforeAll(async () => {
    server = await Server.standIn(...options);
    await server.start();
  });
  test.afterAll(async () => server.kill());
  return () => server.url;
}

test.describe("a server that wants a token", () => {
  test.use({ expected: ["401", ...GONE] });
  const url = against("--token", "correct-horse");

  test("the token is asked for, kept in this tab only, and never in an address", async ({ page, context }) => {
    const addresses: string[] = [];
    page.on("request", (request) => addresses.push(request.url()));
    page.on("websocket", (socket) => addresses.push(socket.url()));
    page.removeAllListeners("request");
    await page.goto(url());
    const dialog = page.getByRole("dialog", { name: "This server wants a token" });
    await dialog.getByLabel("Token").fill("wrong");
    await dialog.getByRole("button", { name: "Use it" }).click();
    await expect(dialog.getByLabel("Token")).toHaveValue("");
    await dialog.getByLabel("Token").fill("correct-horse");
    await dialog.getByRole("button", { name: "Use it" }).click();
    await expect(page.locator("[data-freshness]")).toHaveAttribute("data-freshness", "fresh");
    await expect(page.getByRole("table", { name: "top signals" })).toBeVisible();
    expect(await page.evaluate(() => Object.values(localStorage).join())).not.toContain("correct-horse");
    expect(await page.evaluate(() => Object.values(sessionStorage).join())).toContain("correct-horse");
    expect(addresses.join()).not.toContain("correct-horse");
    const other = await context.newPage();
    await other.goto(url());
    await expect(other.getByRole("dialog", { name: "This server wants a token" })).toBeVisible();
  });
});

test.describe("a server that has nothing yet", () => {
  const url = against("--empty");

  test("every view says what is missing and what mends it", async ({ page }) => {
    page.removeAllListeners("request");
    for (const [path, said] of [
      ["/", /No signals yet: reading bars, 3 of 20/],
      ["/symbol/AAPL", /No bars of AAPL yet/],
      ["/watchlist", /20 symbols/],
      ["/portfolio", /No equity yet/],
      ["/models", /No model has a seat yet/],
      ["/system", /No jobs yet/],
    ] as const) {
      await page.goto(url() + path);
      await expect(page.locator("main")).toContainText(said);
    }
    await expect(page.locator("[data-freshness]")).toContainText("no data yet");
    await expect(page.locator("main")).toContainText("tradewind retrain dual-model");
  });
});

test.describe("a server with all there is", () => {
  const url = against("--sentiment", "--override");

  test("sentiment, news and the manual override are shown only there", async ({ page }) => {
    page.removeAllListeners("request");
    await page.goto(`${url()}/watchlist`);
    await expect(page.getByRole("heading", { name: "Sentiment by sector" })).toBeVisible();
    await page.goto(`${url()}/symbol/AAPL`);
    await expect(page.getByRole("heading", { name: "News" })).toBeVisible();
    await page.goto(`${url()}/models`);
    await page.getByRole("button", { name: "Promote…" }).click();
    await expect(page.getByRole("dialog")).toContainText("You overrule the gate");
    await expect(page.getByRole("button", { name: "Promote", exact: true })).toBeDisabled();
  });

  test("nobody overrules the gate where that is not switched on", async ({ page, server }) => {
    const { available } = await server.get<{ available: { manual_override: boolean } }>("/status");
    test.skip(available.manual_override, "it is switched on there");
    await open(page, "/models");
    await expect(page.getByRole("button", { name: "Retrain…" }).first()).toBeVisible();
    await expect(page.getByRole("button", { name: "Promote…" })).toHaveCount(0);
  });
});
