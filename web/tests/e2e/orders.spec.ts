/** Row D10: ordering, closing and taking back by hand. */
import type { Page } from "@playwright/test";
import { expect, open, test } from "./kit";
import { Server } from "./server";

interface Held {
  symbol: string;
  shares: number;
}

interface Manual {
  id: string;
  symbol: string;
  side: string;
  state: string;
  reason: string;
}

/** A market whose bars are so long that what waits goes on waiting. */
const SLOW = ["--bar-seconds", "600"];

async function manual(server: Server): Promise<Manual[]> {
  return (await server.get<{ items: Manual[] }>("/orders/manual")).items;
}

async function ordered(page: Page, symbol: string, reason: string): Promise<void> {
  await open(page, `/symbol/${symbol}`);
  await page.getByRole("button", { name: "Buy…" }).click();
  await page.getByLabel(/Reason/).fill(reason);
  await page.getByRole("button", { name: "Buy at the next close" }).click();
  await expect(page.getByRole("dialog")).toHaveCount(0);
}

/** The same tests with a server of their own. */
function served(...options: string[]) {
  return test.extend<object, { server: Server }>({
    server: [
      // eslint-disable-next-line no-empty-pattern
      async ({}, use) => {
        const server = await Server.standIn(...options);
        await server.start();
        await use(server);
        await server.kill();
      },
      { scope: "worker", timeout: 60_000 },
    ],
  });
}

test.describe("by hand", () => {
  const quiet = served(...SLOW, "--stopped");

  quiet("an order is said in words, waits, and is taken back", async ({ page, server, known }) => {
    const symbol = known.symbols[2] ?? "";
    await open(page, `/symbol/${symbol}`);
    const buy = page.getByRole("button", { name: "Buy…" });
    await page.getByLabel("Size").fill("4");
    await buy.click();
    const dialog = page.getByRole("dialog", { name: `Buy ${symbol}, on paper` });
    await expect(dialog).toContainText(/At the next close of the replay, \d+ \w+ \d{4}, \d\d:\d\d E[DS]T, you decide in the rule’s place; filled at the open of the bar after it, on paper/);
    await expect(dialog).toContainText("4.0 % of equity, about");
    const give = dialog.getByRole("button", { name: "Buy at the next close" });
    await expect(give).toBeDisabled();
    await dialog.getByLabel(/Reason/).fill("it is cheap");
    await give.click();
    await expect(page.locator(".waits")).toContainText(`buy ${symbol}, 4.0 % of equity`);
    await expect(page.locator(".waits")).toContainText("it is cheap");
    expect((await manual(server)).filter((one) => one.state === "waiting")).toMatchObject([{ symbol, side: "BUY", reason: "it is cheap" }]);
    await page.goto("/");
    await page.getByRole("button", { name: new RegExp(`^Cancel: buy ${symbol}`) }).click();
    await expect(page.getByRole("heading", { name: "Ordered by hand" })).toHaveCount(0);
    expect((await manual(server)).map((one) => one.state)).toEqual(["cancelled"]);
  });

  quiet("what cannot be meant is said before it is sent, and the other side has its own stop", async ({ page, known }) => {
    await open(page, `/symbol/${known.symbols[0] ?? ""}`);
    const buy = page.getByRole("button", { name: "Buy…" });
    const stop = page.getByLabel("Stop", { exact: false });
    const below = Number(await stop.inputValue());
    for (const [label, value, said] of [["Size", "0", "how much of the equity"], ["Size", "21", "at most"], ["Stop", String(below * 2), "must lie below the last price"], ["Target", "0.01", "must lie above"], ["Target", "x", "no number"]] as const) {
      const field = page.getByLabel(label);
      const before = await field.inputValue();
      await field.fill(value);
      await expect(page.locator(".fault")).toContainText(said);
      await expect(buy).toHaveAttribute("aria-disabled", "true");
      await buy.press("Enter");
      await expect(page.getByRole("dialog")).toHaveCount(0);
      await field.fill(before);
    }
    await page.getByRole("radio", { name: /Sell short/ }).check();
    expect(Number(await stop.inputValue())).toBeGreaterThan(below);
    await expect(page.locator(".fault")).toHaveCount(0);
  });

  quiet("everything can be done with the keyboard, and closing is asked about", async ({ page, server, known }) => {
    expect(known.symbols.length).toBeGreaterThan(0);
    const { items } = await server.get<{ items: Held[] }>("/positions");
    const held = items[0]?.symbol ?? "";
    await open(page, "/portfolio");
    await page.getByRole("button", { name: `Close ${held}…` }).focus();
    await page.keyboard.press("Enter");
    const dialog = page.getByRole("dialog", { name: `Close ${held}, on paper` });
    await expect(dialog).toContainText(/All [\d,]+ shares of/);
    await page.keyboard.press("Escape");
    await expect(page.getByRole("button", { name: `Close ${held}…` })).toBeFocused();
    await page.keyboard.press("Enter");
    await page.keyboard.type("enough of it");
    await expect(dialog.getByRole("button", { name: "Close at the next close" })).toBeEnabled();
    await page.keyboard.press("Enter");
    await expect(page.getByRole("dialog")).toHaveCount(0);
    expect((await manual(server))[0]).toMatchObject({ symbol: held, side: "CLOSE", state: "waiting" });
    await page.getByRole("row", { name: new RegExp(`^${held}`) }).getByRole("button", { name: `Cancel: close ${held}` }).click();
    await expect(page.getByRole("button", { name: `Close ${held}…` })).toBeVisible();
  });

  quiet("a seat that drift has stopped is released where that is shown", async ({ page, server, known }) => {
    expect(known.symbols.length).toBeGreaterThan(0);
    expect((await server.get<{ stopped_seats: string[] }>("/status")).stopped_seats).toHaveLength(1);
    await open(page, "/models");
    const stopped = page.getByRole("region", { name: /Recommendations are stopped/ });
    await stopped.getByRole("button", { name: "Release…" }).click();
    await page.getByLabel(/Reason/).fill("looked at it");
    await page.getByRole("button", { name: "Release", exact: true }).click();
    await expect(stopped).toHaveCount(0);
  });
});

test("an order is applied at the next close, becomes a position, and is closed again", async ({ page, server, known }) => {
  test.skip(!server.ours, "this server's account is not ours to trade");
  const held = new Set((await server.get<{ items: Held[] }>("/positions")).items.map((one) => one.symbol));
  const symbol = known.symbols.find((one) => !held.has(one)) ?? "";
  await ordered(page, symbol, "to be closed");
  await page.goto("/portfolio");
  const mine = page.locator(".by-hand li", { hasText: "to be closed" });
  await expect(mine).toContainText("applied", { timeout: 30_000 });
  await expect(page.getByRole("table", { name: "positions" }).getByRole("row", { name: new RegExp(`^${symbol}`) })).toBeVisible({ timeout: 30_000 });
  await page.getByRole("button", { name: `Close ${symbol}…` }).click();
  await page.getByLabel(/Reason/).fill("closed again");
  await page.getByRole("button", { name: "Close at the next close" }).click();
  await expect(page.locator(".by-hand li", { hasText: "closed again" })).toContainText("applied", { timeout: 30_000 });
  await expect(page.getByRole("table", { name: "positions" }).getByRole("row", { name: new RegExp(`^${symbol}`) })).toHaveCount(0, { timeout: 30_000 });
});

served("--role", "read")("whose token may only read is told so by every button that changes something", async ({ page }) => {
  await open(page, "/portfolio");
  const close = page.getByRole("button", { name: /^Close \w+…$/ }).first();
  await expect(close).toHaveAttribute("aria-disabled", "true");
  await expect(close).toHaveAccessibleDescription(/needs a token with the role trade; yours \(read\) has the role read/);
  await close.press("Enter");
  await expect(page.getByRole("dialog")).toHaveCount(0);
  await open(page, "/models");
  await expect(page.getByRole("button", { name: "Retrain…" }).first()).toHaveAttribute("aria-disabled", "true");
  await open(page, "/system");
  await expect(page.getByRole("button", { name: "Halt trading…" })).toHaveAttribute("aria-disabled", "true");
});
