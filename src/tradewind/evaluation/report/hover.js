// Reads the named lines of a chart under the pointer. Everything on the page works without it.
for (const plot of document.querySelectorAll(".plot[data-format]")) {
  const [x0, x1] = plot.dataset.x.split(" ").map(Number), [y0, y1, log] = plot.dataset.y.split(" ").map(Number);
  const names = plot.dataset.labels?.split("|"), percent = plot.dataset.format.endsWith("%"), digits = parseInt(plot.dataset.format);
  const lines = [...plot.querySelectorAll("path[data-name]")].map(p => ({
    name: p.dataset.name, points: p.getAttribute("d").slice(1).split("L").map(s => s.split(" ").map(Number)) }));
  const cursor = document.createElement("div"), tip = document.createElement("div");
  cursor.className = "cursor"; tip.className = "tip"; cursor.hidden = tip.hidden = true; plot.append(cursor, tip);
  const value = y => { const s = 1 - y / 1000; return log ? y0 * (y1 / y0) ** s : y0 + (y1 - y0) * s; };
  const said = v => (percent ? v * 100 : v).toLocaleString("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits }) + (percent ? " %" : "");
  const when = x => names ? names[Math.round(x - x0)] : new Date(x).toISOString().slice(0, 10);
  plot.addEventListener("pointermove", event => {
    const box = plot.getBoundingClientRect(), at = Math.min(1, Math.max(0, (event.clientX - box.left) / box.width));
    let x = at * 1000;
    if (names) x = Math.round(x0 + at * (x1 - x0) - x0) / (x1 - x0) * 1000;
    const found = lines.map(l => [l.name, l.points.reduce((a, b) => Math.abs(b[0] - x) < Math.abs(a[0] - x) ? b : a)])
      .filter(([, p]) => Math.abs(p[0] - x) < 12);
    tip.textContent = [when(x0 + x / 1000 * (x1 - x0)), ...found.map(([n, p]) => n + "  " + said(value(p[1])))].join("\n");
    cursor.hidden = tip.hidden = !found.length; cursor.style.left = x / 10 + "%";
    tip.style.left = at < .5 ? `calc(${x / 10}% + 10px)` : ""; tip.style.right = at < .5 ? "" : `calc(${100 - x / 10}% + 10px)`;
  });
  plot.addEventListener("pointerleave", () => { cursor.hidden = tip.hidden = true; });
}
