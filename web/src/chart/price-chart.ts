/** Candles, volume, fans and lines on one canvas: lightweight-charts behind a face of our own. Loaded when first needed. */
import { CandlestickSeries, createChart, CrosshairMode, HistogramSeries, LineStyle } from "lightweight-charts";
import type { CandlestickData, IChartApi, IPriceLine, ISeriesApi, MouseEventParams, UTCTimestamp, WhitespaceData } from "lightweight-charts";
import type { Bar } from "../api/shapes";
import { price as priceText } from "../format/numbers";
import { colours } from "./colours";
import { FanPrimitive } from "./fan-primitive";
import type { Scene } from "./fan-primitive";
import { axisTick, axisTime, chartTime } from "./time-axis";

export interface Line {
  name: "entry" | "target" | "stop" | "last";
  price: number;
}

export class PriceChart {
  #colours = colours();
  #chart: IChartApi;
  #candles: ISeriesApi<"Candlestick">;
  #volume: ISeriesApi<"Histogram">;
  #fan: FanPrimitive;
  #lines = new Map<string, IPriceLine>();
  #bars: readonly Bar[] = [];
  #fitted = false;

  constructor(
    container: HTMLElement,
    private readonly zone: string,
    private readonly daily: boolean,
    onBar: (bar: Bar | null) => void,
  ) {
    this.#chart = createChart(container, { autoSize: true, layout: { attributionLogo: false } });
    this.#candles = this.#chart.addSeries(CandlestickSeries, { priceLineVisible: false, lastValueVisible: false });
    this.#volume = this.#chart.addSeries(HistogramSeries, { priceScaleId: "volume", priceLineVisible: false, lastValueVisible: false });
    this.#chart.priceScale("volume").applyOptions({ scaleMargins: { top: 0.84, bottom: 0 } });
    this.#candles.priceScale().applyOptions({ scaleMargins: { top: 0.09, bottom: 0.2 } });
    this.#fan = new FanPrimitive(this.#colours);
    this.#candles.attachPrimitive(this.#fan);
    this.#chart.subscribeCrosshairMove((event) => onBar(this.#barAt(event)));
    this.paint();
  }

  /** Show bars; a view that follows the newest goes on to. */
  setBars(bars: readonly Bar[]): void {
    const [before, last] = [this.#bars, bars.at(-1)];
    this.#bars = bars;
    const grown = last && before.length > 0 && bars.length === before.length + 1 && bars[0]?.time === before[0]?.time && bars.at(-2)?.time === before.at(-1)?.time;
    if (grown) {
      this.#candles.update(this.#candle(last));
      this.#volume.update(this.#column(last));
    } else {
      this.#candles.setData(bars.map((bar) => this.#candle(bar)));
      this.#volume.setData(bars.map((bar) => this.#column(bar)));
    }
  }

  setScene(scene: Scene): void {
    this.#fan.show(scene);
    if (this.#fitted || !this.#bars.length) return;
    this.look(this.#bars.length - 1, scene.fans[0]?.fan.knots.at(-1)?.ahead ?? 5);
    this.#fitted = scene.fans.length > 0; // until there is a fan, there is none to make room for
  }

  /** Bring a bar into sight, with room for its fan. */
  look(index: number, ahead: number): void {
    this.#fitted = true;
    const wide = this.#chart.timeScale().width() < 520 ? 45 : 110;
    this.#chart.timeScale().setVisibleLogicalRange({ from: index - wide, to: index + ahead + 2 });
  }

  /** Bring a bar into sight where it or its fan is not. */
  reveal(index: number, ahead: number): void {
    const range = this.#chart.timeScale().getVisibleLogicalRange();
    if (!range || index < range.from + 5 || index + ahead > range.to) this.look(index, ahead);
  }

  setLines(lines: readonly Line[]): void {
    const wanted = new Map(lines.map((line) => [line.name as string, line]));
    for (const [name, line] of this.#lines) {
      if (wanted.has(name)) continue;
      this.#candles.removePriceLine(line);
      this.#lines.delete(name);
    }
    for (const line of lines) {
      const options = { price: line.price, ...this.#look(line.name) };
      const known = this.#lines.get(line.name);
      if (known) known.applyOptions(options);
      else this.#lines.set(line.name, this.#candles.createPriceLine(options));
    }
  }

  /** Take the page's colours as they are now. */
  paint(): void {
    const c = (this.#colours = colours());
    this.#fan.paint(c);
    this.#chart.applyOptions({
      layout: { background: { color: c.card }, textColor: c.soft, fontFamily: c.font, fontSize: 11, attributionLogo: false, panes: { separatorColor: c.grid } },
      grid: { vertLines: { color: c.grid }, horzLines: { color: c.grid } },
      rightPriceScale: { borderVisible: false },
      timeScale: {
        borderVisible: false,
        timeVisible: !this.daily,
        secondsVisible: false,
        minBarSpacing: 1,
        rightOffset: 22,
        tickMarkFormatter: axisTick(this.daily),
      },
      crosshair: { mode: CrosshairMode.Magnet, vertLine: { color: c.soft, labelBackgroundColor: c.ink }, horzLine: { color: c.soft, labelBackgroundColor: c.ink } },
      localization: { priceFormatter: priceText, timeFormatter: axisTime(this.daily) },
      handleScroll: { vertTouchDrag: false },
    });
    this.#candles.applyOptions({ upColor: c.card, downColor: c.down, borderUpColor: c.up, borderDownColor: c.down, wickUpColor: c.up, wickDownColor: c.down });
    for (const [name, line] of this.#lines) line.applyOptions(this.#look(name as Line["name"]));
    this.#volume.setData(this.#bars.map((bar) => this.#column(bar)));
  }

  destroy(): void {
    this.#chart.remove();
  }

  #barAt(event: MouseEventParams): Bar | null {
    return event.logical === undefined ? null : (this.#bars[Math.round(event.logical)] ?? null);
  }

  /** A bar that lacks a price keeps its place and shows nothing. */
  #candle(bar: Bar): CandlestickData<UTCTimestamp> | WhitespaceData<UTCTimestamp> {
    const { open, high, low, close } = bar;
    const time = chartTime(bar.time, this.zone);
    if (open === null || high === null || low === null || close === null) return { time };
    return { time, open, high, low, close };
  }

  #column(bar: Bar) {
    const rgb = (bar.close ?? 0) >= (bar.open ?? 0) ? this.#colours.upRgb : this.#colours.downRgb;
    return { time: chartTime(bar.time, this.zone), ...(bar.volume === null ? {} : { value: bar.volume, color: `rgba(${rgb}, 0.3)` }) };
  }

  #look(name: Line["name"]) {
    const c = this.#colours;
    const colour = { entry: c.soft, target: c.upInk, stop: c.downInk, last: c.ink }[name];
    const lineStyle = { entry: LineStyle.SparseDotted, target: LineStyle.LargeDashed, stop: LineStyle.Dashed, last: LineStyle.Dotted }[name];
    const title = name === "last" ? "" : name;
    const [axisLabelColor, axisLabelTextColor] = [colour, c.card];
    return { color: colour, lineStyle, lineWidth: 1 as const, lineVisible: name !== "last", axisLabelVisible: true, axisLabelColor, axisLabelTextColor, title };
  }
}
