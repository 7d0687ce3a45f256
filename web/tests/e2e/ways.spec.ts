import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import type { Page } from "@playwright/test";
import { expect, open, test, VIEWS } from "./kit";

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

/** Return what axe has against a page, in words. */
async function complaints(page: Page): Promise<string[]> {
  await page.evaluate(axe);
  return page.evaluate(async () => {
    interface Found {
      violations: { id: string; help: string; nodes: { html: string; failureSummary?: string }[] }[];
    }
    const run = (window as unknown as { axe: { run: (context: Document, options: object) => Promise<Found> } }).axe.run;
    const tags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];
    const { violations } = await run(document, { runOnly: { type: "tag", values: tags } });
    return violations.flatMap(({ id, help, nodes }) => nodes.map((node) => `${id}: ${help}: ${node.html.slice(0, 160)} ${node.failureSummary ?? ""}`));
  });
}

test.describe("for everybody", () => {
  for (const scheme of ["light", "dark"] as const) {
    test(`labels, roles and contrast hold in ${scheme}, in every view`, async ({ page, known }) => {
      test.setTimeout(120_000);
      expect(known.symbols.length).toBeGreaterThan(0);
      await page.emulateMedia({ colorScheme: scheme, reducedMotion: "reduce" });
      for (const view of VIEWS) {
        await open(page, view);
        expect(await complaints(page), `${view} in ${scheme}`).toEqual([]);
      }
    });
  }

  test("dialogs hold too", async ({ page }) => {
    const dialogs = [
      ["/system", "settings", "Settings"],
      ["/system", "help", "Keys and signs"],
      ["/system", "search a symbol or view", "Search"],
      ["/system", "Halt trading…", "Halt trading"],
      ["/symbol", "Buy…", /^Buy /],
      ["/portfolio", /^Close \w+…$/, /^Close /],
    ] as const;
    for (const [place, button, title] of dialogs) {
      if (new URL(page.url(), "http://here").pathname !== place) await open(page, place);
      await page.getByRole("button", { name: button, exact: true }).first().click();
      await expect(page.getByRole("dialog", { name: title })).toBeVisible();
      expect(await complaints(page), String(title)).toEqual([]);
      await page.keyboard.press("Escape");
      await expect(page.getByRole("dialog")).toHaveCount(0);
    }
  });

  test("nothing is wider than a phone", async ({ page, known }) => {
    expect(known.symbols.length).toBeGreaterThan(0);
    await page.setViewportSize({ width: 360, height: 740 });
    for (const view of VIEWS) {
      await open(page, view);
      expect(await page.evaluate(() => document.documentElement.scrollWidth), view).toBeLessThanOrEqual(360);
      await expect(page.locator("nav.below")).toBeInViewport();
    }
    await page.locator("nav.below a", { hasText: "Models" }).click();
    await expect(page.locator("main h1")).toHaveText("Models");
  });

  test("colours of up and down, light and dark are settings that last", async ({ page }) => {
    await open(page, "/");
    const up = () => page.evaluate(() => getComputedStyle(document.documentElement).getPropertyValue("--up-ink"));
    const before = await up();
    await page.getByRole("button", { name: "settings" }).click();
    await page.getByRole("radio", { name: "▲ red, ▼ green" }).check();
    await page.getByRole("radio", { name: "Dark" }).check();
    await page.keyboard.press("Escape");
    expect(await up()).not.toBe(before);
    await page.reload();
    await expect(page.locator("html")).toHaveAttribute("data-theme", "dark");
    await expect(page.locator("html")).toHaveAttribute("data-palette", "red-green");
  });
});

test.describe("by keyboard", () => {
  test("g and a letter goes to each view", async ({ page }) => {
    await open(page, "/");
    for (const [key, title] of [["w", "Watchlist"], ["p", "Portfolio"], ["m", "Models"], ["y", "System"], ["t", "Today"]] as const) {
      await page.keyboard.press("g");
      await page.keyboard.press(key);
      await expect(page.locator("main h1")).toHaveText(title);
    }
  });

  test("j and k walk a list, Enter opens, [ and ] go on from there", async ({ page }) => {
    await open(page, "/watchlist");
    const links = page.locator("tbody th .symbol");
    await page.keyboard.press("j");
    await expect(links.first()).toBeFocused();
    await page.keyboard.press("j");
    await page.keyboard.press("j");
    await page.keyboard.press("k");
    await expect(links.nth(1)).toBeFocused();
    const symbol = await links.nth(1).innerText();
    await page.keyboard.press("Enter");
    await expect(page.locator("main h1")).toHaveText(symbol);
    await page.keyboard.press("]");
    await expect(page.locator("main h1")).not.toHaveText(symbol);
    await page.keyboard.press("[");
    await expect(page.locator("main h1")).toHaveText(symbol);
  });

  test("/ finds a symbol, ? helps, Escape leaves and gives the focus back", async ({ page, known }) => {
    const symbol = known.symbols.at(-1) ?? "";
    await open(page, "/");
    await page.keyboard.press("/");
    await page.keyboard.type(symbol.toLowerCase());
    await expect(page.getByRole("option").first()).toContainText(symbol);
    await page.keyboard.press("Enter");
    await expect(page.locator("main h1")).toHaveText(symbol);
    await page.keyboard.press("?");
    await expect(page.getByRole("dialog", { name: "Keys and signs" })).toBeVisible();
    await page.keyboard.press("g");
    await page.keyboard.press("t");
    await expect(page.getByRole("dialog")).toBeVisible();
    await page.keyboard.press("Escape");
    await expect(page.getByRole("dialog")).toHaveCount(0);
  });

  test("letters typed into a field are letters", async ({ page }) => {
    await open(page, "/watchlist");
    await page.getByRole("searchbox", { name: "filter" }).focus();
    await page.keyboard.type("g t?");
    await expect(page.getByRole("searchbox", { name: "filter" })).toHaveValue("g t?");
    await expect(page.locator("main h1")).toHaveText("Watchlist");
  });

  test("the focus is seen, and one can skip to the content", async ({ page }) => {
    await open(page, "/");
    await page.keyboard.press("Tab");
    await expect(page.getByRole("link", { name: "To the content" })).toBeFocused();
    const outline = await page.evaluate(() => (document.activeElement ? getComputedStyle(document.activeElement).outlineStyle : ""));
    expect(outline).toBe("solid");
  });
});

test("the first paint comes within a second, best of three", async ({ page, browser, baseURL }) => {
  await open(page, "/");
  const paints: number[] = [];
  for (let round = 0; round < 3; round++) {
    const context = await browser.newContext();
    const fresh = await context.newPage();
    await fresh.goto(baseURL ?? "");
    await fresh.waitForFunction(() => performance.getEntriesByName("first-contentful-paint").length > 0);
    paints.push(await fresh.evaluate(() => performance.getEntriesByName("first-contentful-paint")[0]?.startTime ?? Infinity));
    await context.close();
  }
  test.info().annotations.push({ type: "first paint, ms", description: paints.map(Math.round).join(", ") });
  expect(Math.min(...paints)).toBeLessThan(1000);
});
