/** Files that the page makes: pictures of charts, and the rows that are shown as CSV. */

import { h } from "./dom.js";
import { textOf } from "./filters.js";

/** What saved files' names begin with: that of the run. */
export const save = { stem: "privacy" };

export function nameFiles(run) {
  save.stem = run.replace(/[^\p{L}\p{N}._-]+/gu, "-").replace(/^[-.]+/, "").slice(0, 60) || "privacy";
}

/** Has the browser save what is at an address, under a name. */
export function saveAddress(address, name) {
  const link = h("a", { href: address, download: name, hidden: true });
  document.body.append(link);
  link.click();
  link.remove();
}

/** Has the browser save a text as a file. */
export function saveText(text, name, type) {
  const address = URL.createObjectURL(new Blob([text], { type: `${type};charset=utf-8` }));
  saveAddress(address, name);
  setTimeout(() => URL.revokeObjectURL(address), 60000);
}

/** Rows as CSV: numbers whole, ends of intervals as columns of their own, all factors. */
export function rowsAsCsv(run, rows) {
  const named = run.info.metrics.flatMap(({ name, low, high }) => [name, low, high].filter(Boolean));
  const metrics = [...new Set([...named, ...rows.flatMap((row) => Object.keys(row.metrics))])];
  const factors = [...new Set(rows.flatMap((row) => Object.keys(row.factors ?? {})))];
  const plain = ["trial", "sequence", "status", "phase", "feasible", "violation", "pattern", "seconds"];
  const head = [...plain, ...factors.map((name) => `factor ${name}`), ...metrics, "architecture", "error"];
  const lines = rows.map((row) => [
    ...plain.map((key) => row[key]), ...factors.map((name) => textOf(row.factors?.[name])),
    ...metrics.map((name) => row.metrics[name]), row.architecture, row.error]);
  return [head, ...lines].map((line) => line.map(field).join(",")).join("\r\n") + "\r\n";
}

/** A field; a text that a spreadsheet would take for a formula gets an apostrophe, as a name may be anybody's. */
function field(value) {
  if (value === null || value === undefined) return "";
  if (typeof value === "number" || typeof value === "boolean") return String(value);
  const text = /^[=+\-@\t\r]/.test(value) ? `'${value}` : String(value);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
