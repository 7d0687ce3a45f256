/** Draws fans on a price chart: bands in one hue, the median, the dashed line of now, and the ticks since. */
import type {
  AutoscaleInfo,
  IPrimitivePaneRenderer,
  IPrimitivePaneView,
  ISeriesPrimitive,
  Logical,
  SeriesAttachedParameter,
} from "lightweight-charts";
import type { Colours, FanHue } from "./colours";
import { reach } from "./fan";
import type { Fan, Point } from "./fan";

export interface DrawnFan {
  fan: Fan;
  hue: FanHue;
  /** Outline and median only: for a fan laid over another. */
  outline: boolean;
}

export interface Scene {
  fans: readonly DrawnFan[];
  /** Index of the bar that the forecast was made at. */
  origin: number;
  /** What the dashed line is called. */
  label: string;
  /** Prices since the last close, by share of the bar that is open. */
  trail: readonly Point[];
}

const NOTHING: Scene = { fans: [], origin: -1, label: "", trail: [] };
const ALPHAS = [0.16, 0.3];

type Target = Parameters<IPrimitivePaneRenderer["draw"]>[0];

export class FanPrimitive implements ISeriesPrimitive {
  #attached: SeriesAttachedParameter | null = null;
  #scene = NOTHING;
  #views: IPrimitivePaneView[];

  constructor(private colours: Colours) {
    const view = (place: "bottom" | "top", draw: (target: Target) => void): IPrimitivePaneView => ({ zOrder: () => place, renderer: () => ({ draw }) });
    this.#views = [view("bottom", (target) => this.#drawBelow(target)), view("top", (target) => this.#drawAbove(target))];
  }

  attached(parameter: SeriesAttachedParameter): void {
    this.#attached = parameter;
  }

  detached(): void {
    this.#attached = null;
  }

  paneViews(): readonly IPrimitivePaneView[] {
    return this.#views;
  }

  /** Keep the whole fan in sight. */
  autoscaleInfo(start: Logical, end: Logical): AutoscaleInfo | null {
    const { fans, origin } = this.#scene;
    const seen = fans.filter(({ fan }) => origin <= end && origin + (fan.knots.at(-1)?.ahead ?? 0) >= start);
    if (!seen.length) return null;
    const reaches = seen.map(({ fan }) => reach(fan));
    return { priceRange: { minValue: Math.min(...reaches.map(([low]) => low)), maxValue: Math.max(...reaches.map(([, high]) => high)) } };
  }

  show(scene: Scene): void {
    this.#scene = scene;
    this.#attached?.requestUpdate();
  }

  paint(colours: Colours): void {
    this.colours = colours;
    this.#attached?.requestUpdate();
  }

  /** Fans lie under the candles, so that one sees what became of them. */
  #drawBelow(target: Target): void {
    if (this.#scene.origin < 0) return;
    target.useMediaCoordinateSpace(({ context }) => {
      context.save();
      for (const drawn of this.#scene.fans) this.#drawFan(context, drawn);
      context.restore();
    });
  }

  #drawAbove(target: Target): void {
    if (this.#scene.origin < 0) return;
    target.useMediaCoordinateSpace(({ context, mediaSize }) => {
      context.save();
      this.#drawNow(context, mediaSize.height);
      this.#drawTrail(context);
      context.restore();
    });
  }

  /** Bars between bars exist: a fan is smooth, and a tick lies within its bar. */
  #x(ahead: number): number | null {
    const scale = this.#attached?.chart.timeScale();
    if (!scale) return null;
    const at = this.#scene.origin + ahead;
    const [left, right] = [Math.floor(at), Math.ceil(at)].map((index) => scale.logicalToCoordinate(index as Logical));
    if (left === null || left === undefined || right === null || right === undefined) return null;
    return left + (right - left) * (at - Math.floor(at));
  }

  #trace(context: CanvasRenderingContext2D, path: readonly Point[]): void {
    context.beginPath();
    for (const { ahead, price } of path) {
      const [x, y] = [this.#x(ahead), this.#attached?.series.priceToCoordinate(price) ?? null];
      if (x !== null && y !== null) context.lineTo(x, y);
    }
  }

  #drawFan(context: CanvasRenderingContext2D, { fan, hue, outline }: DrawnFan): void {
    const rgb = this.colours.fan[hue];
    fan.bands.forEach((band, index) => {
      this.#trace(context, band.outline);
      context.closePath();
      context.fillStyle = `rgba(${rgb}, ${outline ? 0.05 : (ALPHAS[index] ?? 0.3)})`;
      context.fill();
      if (!outline && index > 0) return;
      context.setLineDash(outline && index > 0 ? [2, 3] : []);
      context.strokeStyle = `rgba(${rgb}, ${outline ? 0.75 : 0.35})`;
      context.lineWidth = 1;
      context.stroke();
    });
    this.#trace(context, fan.median);
    context.setLineDash(outline ? [6, 4] : []);
    context.strokeStyle = `rgb(${rgb})`;
    context.lineWidth = 1.75;
    context.stroke();
    context.setLineDash([]);
    this.#drawKnots(context, fan, rgb);
  }

  /** Only the horizons are forecast: a dot on each. */
  #drawKnots(context: CanvasRenderingContext2D, fan: Fan, rgb: string): void {
    for (const knot of fan.knots) {
      const price = knot.prices.get(0.5);
      const [x, y] = [this.#x(knot.ahead), price === undefined ? null : (this.#attached?.series.priceToCoordinate(price) ?? null)];
      if (x === null || y === null) continue;
      context.beginPath();
      context.arc(x, y, 3, 0, 2 * Math.PI);
      context.fillStyle = this.colours.card;
      context.fill();
      context.strokeStyle = `rgb(${rgb})`;
      context.lineWidth = 1.5;
      context.stroke();
    }
  }

  #drawNow(context: CanvasRenderingContext2D, height: number): void {
    const x = this.#x(0);
    if (x === null) return;
    context.beginPath();
    context.setLineDash([5, 4]);
    context.moveTo(Math.round(x) + 0.5, 18);
    context.lineTo(Math.round(x) + 0.5, height);
    context.strokeStyle = this.colours.soft;
    context.lineWidth = 1;
    context.stroke();
    context.setLineDash([]);
    context.font = `11px ${this.colours.font}`;
    context.textAlign = "center";
    context.fillStyle = this.colours.soft;
    context.fillText(this.#scene.label, x, 12);
  }

  #drawTrail(context: CanvasRenderingContext2D): void {
    const { trail } = this.#scene;
    const last = trail.at(-1);
    if (!last) return;
    this.#trace(context, trail);
    context.strokeStyle = this.colours.ink;
    context.lineWidth = 1;
    context.stroke();
    const [x, y] = [this.#x(last.ahead), this.#attached?.series.priceToCoordinate(last.price) ?? null];
    if (x === null || y === null) return;
    context.beginPath();
    context.arc(x, y, 3.5, 0, 2 * Math.PI);
    context.fillStyle = this.colours.ink;
    context.fill();
  }
}
