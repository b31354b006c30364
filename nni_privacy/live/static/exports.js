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

/**
 * Rows as CSV: numbers whole, ends of intervals as columns of their own, all factors.
 *
 * Columns are those of all rows of the run, as in the server's CSV (`live/table.py`).
 */
export function rowsAsCsv(run, rows) {
  const named = run.info.metrics.flatMap(({ name, low, high }) => [name, low, high].filter(Boolean));
  const factors = [...new Set(run.ordered.flatMap((row) => Object.keys(row.factors ?? {})))];
  const plain = ["trial", "sequence", "status", "phase", "feasible", "violation", "pattern", "seconds"];
  // Trials report their violation, too: it has its column already.
  const metrics = [...new Set([...named, ...run.ordered.flatMap((row) => Object.keys(row.metrics))])]
    .filter((name) => ![...plain, "architecture", "error"].includes(name));
  const head = [...plain, ...factors.map((name) => `factor ${name}`), ...metrics, "architecture", "error"];
  const lines = rows.map((row) => [
    ...plain.map((key) => row[key]), ...factors.map((name) => textOf(row.factors?.[name])),
    ...metrics.map((name) => row.metrics[name]), row.architecture, row.error]);
  return [head, ...lines].map((line) => line.map(field).join(",")).join("\n") + "\n";
}

/** A field; a text that a spreadsheet would take for a formula gets an apostrophe, as a name may be anybody's. */
function field(value) {
  if (value === null || value === undefined) return "";
  if (typeof value === "number" || typeof value === "boolean") return String(value);
  const formula = /^[=+\-@\t\r]/.test(value) && !/^[-+]?\d+(\.\d+)?$/.test(value);
  const text = formula ? `'${value}` : String(value);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
