import { readFile } from "node:fs/promises";
import { expect, open, pixels, test } from "./kit";

test("Today shows signals, positions, the account, alerts and tiers, and the mode in words", async ({ page, server, known }) => {
  await open(page, "/");
  expect(known.symbols.length).toBeGreaterThan(0);
  const { mode, playbook } = await server.get<{ mode: string; playbook: string }>("/status");
  await expect(page.locator("header.top [data-mode]")).toHaveText(mode);
  await expect(page.locator(".playbook")).toHaveText(playbook);
  await expect(page).toHaveTitle(`Today · ${playbook} · Tradewind`);
  for (const title of ["Account", "Top signals", "Alerts", "Positions", "Stocks by price tier"]) await expect(page.getByRole("heading", { name: title, exact: true })).toBeVisible();
  const rows = page.getByRole("table", { name: "top signals" }).locator("tbody tr");
  expect(await rows.count()).toBeGreaterThan(0);
  expect(await rows.count()).toBeLessThanOrEqual(10);
  await expect(page.getByText(/not financial advice/i).first()).toBeVisible();
});

test("prices tick without the page being asked", async ({ page, known }) => {
  await open(page, "/watchlist");
  const price = page.locator(`[data-price]`).first();
  await expect(price).not.toHaveText("–");
  expect(known.symbols).toContain(await price.getAttribute("data-price"));
  const before = await page.locator("table").innerText();
  await expect.poll(() => page.locator("table").innerText()).not.toBe(before);
});

test("a symbol has candles, a fan to the right of now, reasons, and its forecast in figures", async ({ page, known }) => {
  const symbol = known.symbols[0] ?? "";
  await open(page, `/symbol/${symbol}`);
  await expect(page.locator(".candles[data-ready]")).toBeVisible();
  await expect(page.locator("main h1")).toHaveText(symbol);
  await expect.poll(() => pixels(page, ".candles", "any")).toBeGreaterThan(500);
  await expect.poll(() => pixels(page, ".candles", "blue")).toBeGreaterThan(1000);
  await expect(page.locator(".candles")).toHaveAttribute("aria-label", /in \d+ bars between [\d.,]+ and [\d.,]+ with a promise of 90 %/);
  await expect(page.getByRole("heading", { name: "Why" })).toBeVisible();
  expect(await page.locator(".reasons li").count()).toBeGreaterThan(0);
  const figures = page.getByRole("table", { name: "quantiles by horizon" });
  expect(await figures.locator("tbody tr").count()).toBeGreaterThan(0);
  // quantiles rise from left to right
  for (const row of await figures.locator("tbody tr").all()) {
    const prices = (await row.locator("td.number").allInnerTexts()).slice(0, 5).map((text) => Number(text.replaceAll(",", "")));
    expect(prices).toEqual([...prices].sort((a, b) => a - b));
  }
});

test("one sees both models, and past forecasts beside what became of them", async ({ page, known }) => {
  await open(page, `/symbol/${known.symbols[0] ?? ""}`);
  await expect(page.locator(".candles[data-ready]")).toBeVisible();
  const compare = page.getByRole("radio", { name: "Compare" });
  await compare.check();
  await expect.poll(() => pixels(page, ".candles", "seats")).toBeGreaterThan(100);
  const slider = page.getByRole("slider", { name: "forecast made at" });
  const newest = await page.locator(".when").innerText();
  await slider.focus();
  for (let step = 0; step < 25; step++) await page.keyboard.press("ArrowLeft");
  await expect(page.locator(".when")).not.toHaveText(newest);
  await expect(page.getByRole("table", { name: "quantiles by horizon" })).toContainText(/in the (dark|light) band|(above|below) the fan/);
  await page.getByRole("button", { name: "Now" }).click();
  await expect(page.locator(".when")).toHaveText(newest);
  await page.getByRole("button", { name: "replay past forecasts" }).click();
  await expect(page.locator(".when")).not.toHaveText(newest);
  await page.getByRole("button", { name: "pause" }).click();
});

test("the watch-list sorts, groups and filters", async ({ page, known }) => {
  await open(page, "/watchlist");
  const names = page.locator("tbody tr:not(.group) th .symbol");
  await page.getByRole("radio", { name: "Ungrouped" }).check();
  await expect(page.locator("tr.group")).toHaveCount(0);
  await expect(names).toHaveText([...known.symbols].sort((a, b) => a.localeCompare(b, "en")));
  await page.getByRole("button", { name: "Symbol", exact: true }).click();
  await expect(page.getByRole("columnheader", { name: "Symbol" })).toHaveAttribute("aria-sort", "descending");
  await expect(names).toHaveText([...known.symbols].sort((a, b) => b.localeCompare(a, "en")));
  const one = known.symbols.at(-1) ?? "";
  await page.getByRole("searchbox", { name: "filter" }).fill(one.toLowerCase());
  await expect(names.first()).toHaveText(one);
  await page.getByRole("searchbox", { name: "filter" }).fill("no such thing");
  await expect(page.getByText("Nothing matches “no such thing”.")).toBeVisible();
});

test("the portfolio has equity over drawdown, and every table can be taken away", async ({ page, server }) => {
  await open(page, "/portfolio");
  await expect(page.locator(".equity[data-ready]")).toBeVisible();
  await expect.poll(() => pixels(page, ".equity", "any")).toBeGreaterThan(200);
  const { items } = await server.get<{ items: { id: string }[] }>("/fills");
  if (items.length) {
    const [download] = await Promise.all([page.waitForEvent("download"), page.getByRole("button", { name: "trades as CSV" }).click()]);
    expect(download.suggestedFilename()).toBe("trades.csv");
    const lines = (await readFile(await download.path(), "utf8")).trim().split("\r\n");
    expect(lines[0]).toBe("time,symbol,side,quantity,price,fee,order_id");
    expect(lines.length - 1).toBeGreaterThanOrEqual(items.length);
  }
});

test("models show what they promised, what they kept, drift, and why the gate decided", async ({ page, server }) => {
  await open(page, "/models");
  const { items } = await server.get<{ items: { seat: string; decisions: unknown[] }[] }>("/models");
  expect(items.length).toBeGreaterThan(0);
  for (const { seat } of items) await expect(page.getByRole("heading", { name: seat, exact: true })).toBeVisible();
  await expect(page.getByRole("heading", { name: /^Decisions of the gate/ })).toHaveCount(items.length);
  await expect(page.locator(".decisions > li")).toHaveCount(items.reduce((sum, { decisions }) => sum + decisions.length, 0));
  await expect(page.getByText("promised 80 %").first()).toBeVisible();
});

test("the kill switch needs a reason and its word, and every page says that trading is halted", async ({ page }) => {
  await open(page, "/system");
  await page.getByRole("button", { name: "Halt trading…" }).click();
  const halt = page.getByRole("button", { name: "Halt", exact: true });
  await expect(halt).toBeDisabled();
  await page.getByLabel(/Reason/).fill("end to end");
  await page.getByLabel(/Type HALT/).fill("halt");
  await expect(halt).toBeDisabled();
  await page.getByLabel(/Type HALT/).fill("HALT");
  await halt.click();
  await expect(page.locator(".banner.halted")).toContainText("end to end");
  await page.goto("/watchlist");
  await expect(page.locator(".banner.halted")).toContainText("Trading is halted");
  await page.goto("/system");
  await page.getByRole("button", { name: "Release…" }).click();
  await page.getByLabel(/Reason/).fill("all is well");
  await page.getByLabel(/Type RELEASE/).fill("RELEASE");
  await page.getByRole("button", { name: "Release", exact: true }).click();
  await expect(page.locator(".banner.halted")).toHaveCount(0);
});

test("system shows services, latency and an honest word about sentiment", async ({ page, server }) => {
  await open(page, "/system");
  const { services } = await server.get<{ services: unknown[] }>("/health");
  await expect(page.getByRole("table", { name: "services" }).locator("tbody tr")).toHaveCount(services.length);
  const { available } = await server.get<{ available: { sentiment: boolean } }>("/status");
  await expect(page.getByText(available.sentiment ? "✓ available" : "– not available")).toBeVisible();
});

test("deep links, unknown addresses and the way back", async ({ page, known }) => {
  const [first = "", second = ""] = known.symbols;
  await open(page, `/symbol/${second}`);
  await page.goto("/symbol/" + first);
  await page.goBack();
  await expect(page.locator("main h1")).toHaveText(second);
  await page.goto("/nowhere/at/all");
  await expect(page.locator("main h1")).toHaveText("Not found");
  await page.getByRole("link", { name: "To Today", exact: true }).click();
  await expect(page).toHaveURL(/\/$/);
});
