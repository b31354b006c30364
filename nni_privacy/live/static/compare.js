/** Two trials side by side: numbers with their difference, cells, one chart of both ROC curves, what differs marked. */

import { Chart } from "./chart.js";
import { h } from "./dom.js";
import { textOf } from "./filters.js";
import { NONE, full, number, plain, short } from "./numbers.js";
import { cellFigures, showRoc } from "./parts.js";

export class CompareView {
  constructor({ run, rows, details, theme }) {
    Object.assign(this, { run, rows, details, theme, charts: [] });
    this.element = h("div", { class: "compare" }, this.numbers(), this.roc(), this.architectures());
  }

  drawn() {
    for (const { chart, draw } of this.charts) draw(chart);
  }

  dispose() {
    for (const { chart } of this.charts) chart.dispose();
  }

  name(at) {
    return `${plain(this.rows[at].trial, 24)} (No. ${this.rows[at].sequence})`;
  }

  numbers() {
    const { run, rows } = this;
    const metrics = run.shown.filter((metric) => rows.some((row) => run.value(row, metric.name) !== null));
    const factors = [...new Set(rows.flatMap((row) => Object.keys(row.factors ?? {})))];
    const told = (value) => (typeof value === "boolean" ? (value ? "yes" : "no") : value);
    const texts = [["Status", (row) => row.status], ["Phase", (row) => row.phase],
      ["Keeps the constraints", (row) => told(row.feasible)], ["Has the pattern", (row) => told(row.pattern)],
      ...factors.map((name) => [plain(name, 30), (row) => textOf(row.factors?.[name])])];
    const body = [...metrics.map((metric) => this.metricRow(metric)),
      ...texts.map(([what, of]) => this.textRow(what, of))].filter(Boolean);
    return h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Numbers of both" },
      h("table", { class: "comparison" }, h("caption", { class: "visually-hidden" }, "Both trials and their difference"),
        h("thead", {}, h("tr", {}, h("th", { scope: "col", class: "text" }, "Metric"),
          [0, 1].map((at) => h("th", { scope: "col", class: "numeric" }, this.name(at))),
          h("th", { scope: "col", class: "numeric" }, "Difference"), h("th", { scope: "col", class: "text" }, "What it says"))),
        h("tbody", {}, body)));
  }

  metricRow(metric) {
    const { run, rows } = this;
    const values = rows.map((row) => run.value(row, metric.name));
    const ranges = rows.map((row) => run.interval(row, metric.name));
    const difference = values.includes(null) ? null : values[1] - values[0];
    const apart = ranges.every((one) => one.low !== null)
      ? ranges[0].high < ranges[1].low || ranges[1].high < ranges[0].low : null;
    // A cost is counted, not estimated: it needs no interval to be other. How far constraints are broken is estimated.
    const sure = Boolean(difference) && (apart ?? (metric.group === "cost" && metric.name !== "violation"));
    const better = sure && metric.better ? Number((metric.better === "high") === (difference > 0)) : null;
    const words = { true: "intervals lie apart", false: "intervals overlap" }[apart] ?? "";
    const sign = difference > 0 ? "+" : "";
    return h("tr", { class: sure ? "differs" : null },
      h("th", { scope: "row", class: "text" }, metric.title),
      values.map((value, at) => h("td", { class: at === better ? "numeric better" : "numeric" }, number(value, ranges[at]),
        at === better && h("span", { class: "badge" }, "better"))),
      h("td", { class: "numeric", title: full(difference) }, difference === null ? NONE : `${sign}${short(difference)}`),
      h("td", { class: "text soft" }, words));
  }

  textRow(what, of) {
    const values = this.rows.map((row) => of(row) ?? null);
    if (values.every((value) => value === null)) return null;
    const differs = values[0] !== values[1];
    return h("tr", { class: differs ? "differs" : null }, h("th", { scope: "row", class: "text" }, what),
      values.map((value) => h("td", { class: "numeric" }, plain(value ?? NONE, 60))),
      h("td", { class: "numeric" }, differs ? "differs" : "same"), h("td", {}));
  }

  roc() {
    const curves = this.details.flatMap((detail, at) => (detail.roc ?? []).slice(0, 3).map((curve) =>
      ({ ...curve, attack: `${plain(this.rows[at].trial, 16)}: ${plain(curve.attack, 40)}` })));
    if (!curves.length) return null;
    const chart = new Chart({ title: "ROC of both", name: "compare-roc", theme: this.theme, level: 3 });
    this.charts.push({ chart, draw: () => showRoc(chart, curves) });
    return chart.element;
  }

  architectures() {
    const texts = marked(...this.rows.map((row) => row.architecture ?? ""));
    return h("section", {}, h("h3", {}, "Architectures"), h("div", { class: "pair" }, [0, 1].map((at) =>
      h("div", {}, h("h4", {}, this.name(at)), this.details[at].cells?.length ? cellFigures(this.details[at].cells) : null,
        h("pre", { class: "marked", tabindex: "0" }, texts[at])))));
  }
}

/** Two texts of the same form with the words that differ marked; other texts as they are. */
export function marked(one, two) {
  const parts = [one, two].map((text) => text.split(/([\p{L}\p{N}_.]+)/u));
  if (parts[0].length !== parts[1].length) return [[one], [two]];
  return parts.map((own, side) => own.map((word, at) =>
    (at % 2 && word !== parts[1 - side][at] ? h("mark", {}, word) : word)));
}
