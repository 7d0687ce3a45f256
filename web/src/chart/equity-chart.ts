/** Equity over underwater drawdown on one time axis. Loaded when first needed. */
import { AreaSeries, BaselineSeries, createChart, LineSeries, LineStyle } from "lightweight-charts";
import type { IChartApi, ISeriesApi } from "lightweight-charts";
import type { EquityPoint } from "../api/shapes";
import { money, percent } from "../format/numbers";
import { colours } from "./colours";
import { axisTick, axisTime, chartTime } from "./time-axis";

export class EquityChart {
  #chart: IChartApi;
  #equity: ISeriesApi<"Baseline">;
  #drawdown: ISeriesApi<"Area">;
  #start: ISeriesApi<"Line">;

  constructor(
    container: HTMLElement,
    private readonly zone: string,
    private readonly daily: boolean,
    private readonly capital: number,
  ) {
    this.#chart = createChart(container, { autoSize: true, layout: { attributionLogo: false } });
    const plain = { priceLineVisible: false, lineWidth: 2 as const };
    this.#equity = this.#chart.addSeries(BaselineSeries, { ...plain, baseValue: { type: "price", price: capital }, priceFormat: { type: "custom", formatter: money } });
    this.#start = this.#chart.addSeries(LineSeries, { priceLineVisible: false, lastValueVisible: false, lineWidth: 1, lineStyle: LineStyle.Dashed, crosshairMarkerVisible: false });
    const share = { type: "custom" as const, minMove: 0.0001, formatter: (value: number) => percent(value, 2) };
    this.#drawdown = this.#chart.addSeries(AreaSeries, { ...plain, lineWidth: 1, invertFilledArea: true, priceFormat: share }, 1);
    this.#chart.panes()[0]?.setStretchFactor(0.7);
    this.#chart.panes()[1]?.setStretchFactor(0.3);
    this.paint();
  }

  setPoints(points: readonly EquityPoint[]): void {
    const times = points.map((point) => chartTime(point.time, this.zone));
    this.#equity.setData(points.map((point, n) => ({ time: times[n] as never, ...(point.equity === null ? {} : { value: point.equity }) })));
    this.#start.setData(points.map((_, n) => ({ time: times[n] as never, value: this.capital })));
    this.#drawdown.setData(points.map((point, n) => ({ time: times[n] as never, ...(point.drawdown === null ? {} : { value: point.drawdown }) })));
    this.#chart.timeScale().fitContent();
  }

  paint(): void {
    const c = colours();
    this.#chart.applyOptions({
      layout: { background: { color: c.card }, textColor: c.soft, fontFamily: c.font, fontSize: 11, attributionLogo: false, panes: { separatorColor: c.grid, enableResize: false } },
      grid: { vertLines: { visible: false }, horzLines: { color: c.grid } },
      rightPriceScale: { borderVisible: false },
      timeScale: { borderVisible: false, timeVisible: !this.daily, secondsVisible: false, tickMarkFormatter: axisTick(this.daily) },
      crosshair: { vertLine: { color: c.soft, labelBackgroundColor: c.ink }, horzLine: { color: c.soft, labelBackgroundColor: c.ink } },
      localization: { timeFormatter: axisTime(this.daily) },
      handleScroll: { vertTouchDrag: false },
    });
    const side = (rgb: string) => [`rgba(${rgb}, 0.22)`, `rgba(${rgb}, 0.03)`] as const;
    const [[topFillColor1, topFillColor2], [bottomFillColor2, bottomFillColor1]] = [side(c.upRgb), side(c.downRgb)];
    this.#equity.applyOptions({ topLineColor: c.up, bottomLineColor: c.down, topFillColor1, topFillColor2, bottomFillColor1, bottomFillColor2 });
    this.#start.applyOptions({ color: c.soft });
    this.#drawdown.applyOptions({ lineColor: c.down, topColor: `rgba(${c.downRgb}, 0.05)`, bottomColor: `rgba(${c.downRgb}, 0.3)` });
  }

  destroy(): void {
    this.#chart.remove();
  }
}
