/** A chart's time axis in the exchange's time: the library knows UTC only, so instants are moved by the zone's offset. */
import { TickMarkType } from "lightweight-charts";
import type { Time, UTCTimestamp } from "lightweight-charts";
import { offsetOf } from "../live/prices";

export function chartTime(time: string, zone: string): UTCTimestamp {
  const instant = Date.parse(time);
  return Math.floor((instant + offsetOf(zone, instant)) / 1000) as UTCTimestamp;
}

function shown(fields: Intl.DateTimeFormatOptions) {
  const format = new Intl.DateTimeFormat("en-GB", { timeZone: "UTC", hourCycle: "h23", ...fields });
  return (time: Time) => format.format((time as number) * 1000).replace("Sept", "Sep");
}

const year = shown({ year: "numeric" });
const month = shown({ month: "short" });
const day = shown({ day: "numeric", month: "short" });
const clock = shown({ hour: "2-digit", minute: "2-digit" });
const date = shown({ weekday: "short", day: "numeric", month: "short", year: "numeric" });

export function axisTick(daily: boolean) {
  return (time: Time, kind: TickMarkType): string => {
    if (kind === TickMarkType.Year) return year(time);
    if (kind === TickMarkType.Month) return month(time);
    if (kind === TickMarkType.DayOfMonth) return day(time);
    return daily ? day(time) : clock(time);
  };
}

export function axisTime(daily: boolean) {
  return (time: Time): string => (daily ? date(time) : `${date(time)}, ${clock(time)}`);
}
