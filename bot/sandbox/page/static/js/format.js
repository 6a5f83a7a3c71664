// Days, hours, sizes and numbers, as the language of the page writes them.

import { language } from "./words.js";

const ZONE = "Asia/Shanghai";
const locale = () => (language === "zh" ? "zh-CN" : "en-GB");

/** The clock; a phone has no room for the year. */
export function clockText(moment, { year = true } = {}) {
  return new Intl.DateTimeFormat(locale(), {
    timeZone: ZONE, weekday: "short", month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", ...(year ? { year: "numeric" } : {}),
  }).format(moment);
}

export function dayText(moment) {
  return new Intl.DateTimeFormat(locale(), { timeZone: ZONE, year: "numeric", month: "short", day: "numeric" }).format(moment);
}

/** The heading of a day. */
export function weekdayText(moment) {
  return new Intl.DateTimeFormat(locale(), { timeZone: ZONE, weekday: "short", year: "numeric", month: "short", day: "numeric" }).format(moment);
}

export function hourText(moment) {
  return new Intl.DateTimeFormat(locale(), { timeZone: ZONE, hour: "2-digit", minute: "2-digit" }).format(moment);
}

/** As WeCom writes it between the bubbles: the hour today, else with the day. */
export function chatTime(moment, today) {
  const sameDay = dayText(moment) === dayText(today);
  const parts = sameDay ? {} : { month: "short", day: "numeric" };
  return new Intl.DateTimeFormat(locale(), { timeZone: ZONE, hour: "2-digit", minute: "2-digit", ...parts }).format(moment);
}

export function wireTime(moment) {
  return new Intl.DateTimeFormat("en-GB", { timeZone: ZONE, hour: "2-digit", minute: "2-digit", second: "2-digit" }).format(moment);
}

export function size(bytes) {
  if (bytes < 1000) return `${bytes} B`;
  const units = ["kB", "MB", "GB", "TB"];
  let value = bytes / 1000;
  let unit = 0;
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${value.toLocaleString(locale(), { maximumFractionDigits: value < 10 ? 1 : 0 })} ${units[unit]}`;
}

export function number(value) {
  return value.toLocaleString(locale());
}

/** A day with its minute, without the year. */
export function minuteText(moment) {
  return new Intl.DateTimeFormat(locale(), { timeZone: ZONE, month: "short", day: "numeric", hour: "2-digit", minute: "2-digit" }).format(moment);
}

/** When a mail came. */
export function mailTime(moment) {
  return new Intl.DateTimeFormat(locale(), { timeZone: ZONE, year: "numeric", month: "2-digit", day: "2-digit", hour: "2-digit", minute: "2-digit" }).format(moment);
}
