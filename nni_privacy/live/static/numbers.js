/** Numbers and durations as text: four digits on the page, all of them on hover. Fractions stay fractions. */

import { h } from "./dom.js";

export const NONE = "–";

const COUNTS = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const LARGE = new Intl.NumberFormat("en", { maximumFractionDigits: 2 });

/** Four digits behind the point of what is small, none of a count. */
export function short(value) {
  if (typeof value !== "number" || !Number.isFinite(value)) return NONE;
  if (Number.isInteger(value) && Math.abs(value) >= 2) return COUNTS.format(value);
  const size = Math.abs(value);
  if (size >= 1000) return LARGE.format(value);
  if (size >= 10) return value.toPrecision(4);
  if (size !== 0 && size < 0.001) return value.toPrecision(2);
  return value.toFixed(4);
}

/** The full value, for the title of an element; null where there is none. */
export function full(value) {
  return typeof value === "number" && Number.isFinite(value) ? String(value) : null;
}

/** A number that shows its full value on hover. */
export function number(value, { low = null, high = null } = {}) {
  const known = typeof value === "number";
  if (!known) return h("span", { class: "none" }, NONE);
  const main = h("span", { class: "number", title: full(value) }, short(value));
  if (typeof low !== "number" || typeof high !== "number") return main;
  const title = `95% interval: ${low} to ${high}`;
  return h("span", { class: "with-interval" }, main, " ",
    h("span", { class: "interval", title }, `${short(low)} to ${short(high)}`));
}

/** "1 h 5 min", "3 min 20 s", "12 s". */
export function duration(seconds) {
  if (typeof seconds !== "number" || !Number.isFinite(seconds) || seconds < 0) return NONE;
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  const minutes = Math.floor(whole / 60);
  if (minutes < 60) return whole % 60 ? `${minutes} min ${whole % 60} s` : `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return minutes % 60 ? `${hours} h ${minutes % 60} min` : `${hours} h`;
  return `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

/** How long is left, roughly: nobody knows it to the second. */
export function roughly(seconds) {
  if (typeof seconds !== "number" || !Number.isFinite(seconds) || seconds < 0) return NONE;
  if (seconds < 60) return "less than 1 min";
  return `about ${duration(Math.round(seconds / 60) * 60)}`;
}

/** A count with its thousands set apart. */
export function whole(amount) {
  return COUNTS.format(amount);
}

/** "1 trial", "2 trials". */
export function count(amount, one, many = `${one}s`) {
  return `${COUNTS.format(amount)} ${amount === 1 ? one : many}`;
}

/** A point in time as this machine's users write it. */
export function moment(iso) {
  const date = new Date(iso);
  return Number.isNaN(date.getTime()) ? NONE : date.toLocaleString("en", { dateStyle: "medium", timeStyle: "short" });
}

/** A text as it can stand in a label: cut where it is too long, and without characters that turn its direction. */
export function plain(text, longest = 60) {
  const clean = String(text).replace(/[\u0000-\u001f\u007f\u200e\u200f\u202a-\u202e\u2066-\u2069]/g, "\ufffd");
  return clean.length <= longest ? clean : `${clean.slice(0, longest - 1)}…`;
}

/** A title inside of a sentence: "Attack AUC" as "attack AUC", "TPR at 1% FPR" as it is. */
export function inText(title) {
  return /^\p{Lu}\p{Ll}/u.test(title) ? title[0].toLowerCase() + title.slice(1) : title;
}
