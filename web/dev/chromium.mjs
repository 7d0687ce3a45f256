/** Which Chromium is driven, and how: the machine's own, quiet; Playwright's where there is none. */
import { existsSync } from "node:fs";

const places = [process.env.CHROMIUM ?? "", "/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];
const found = places.find((path) => path !== "" && existsSync(path));

export const launchOptions = {
  ...(found === undefined ? {} : { executablePath: found }),
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
};
