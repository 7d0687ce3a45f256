// Runs before the first paint, so that a page set to dark never flashes white.
(() => {
  try {
    const chosen = JSON.parse(localStorage.getItem("tradewind.settings") ?? "{}");
    const root = document.documentElement;
    if (chosen.theme === "light" || chosen.theme === "dark") root.dataset.theme = chosen.theme;
    if (chosen.palette) root.dataset.palette = chosen.palette;
  } catch {
    // no storage, or something else in it: the system's colours
  }
})();
