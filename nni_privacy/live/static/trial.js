/** One trial, whole: its numbers, cells, ROC curves, classes, records, log and configuration. */

import { Chart } from "./chart.js";
import { h, ownLink } from "./dom.js";
import { statusCell, yesNo } from "./columns.js";
import { textOf } from "./filters.js";
import { NONE, count, duration, number, plain, short } from "./numbers.js";
import { cellFigures, classesTable, drawer, showClasses, showRoc, table, textBlock } from "./parts.js";

/** The content of a trial's panel. Charts are drawn by `drawn`, once the content is in the page. */
export class TrialView {
  constructor({ run, row, detail, theme }) {
    Object.assign(this, { run, row, detail, theme, charts: [] });
    this.element = h("div", { class: "trial" }, this.facts(), this.faults(), this.cells(), this.leakage(),
      this.curves(), this.exposed(), this.confirmed(), this.texts());
  }

  drawn() {
    for (const { chart, draw } of this.charts) draw(chart);
  }

  dispose() {
    for (const { chart } of this.charts) chart.dispose();
  }

  chart(title, name, draw) {
    const chart = new Chart({ title, name: `${this.row.sequence}-${name}`, theme: this.theme, level: 3 });
    this.charts.push({ chart, draw });
    return chart.element;
  }

  facts() {
    const { run, row } = this;
    const pairs = run.shown.filter((metric) => run.value(row, metric.name) !== null).map((metric) =>
      [metric.title, number(run.value(row, metric.name), run.interval(row, metric.name)), metric.name]);
    const main = [run.info.x, run.info.y];
    const first = pairs.filter(([, , name]) => main.includes(name));
    const rest = pairs.filter(([, , name]) => !main.includes(name));
    const own = [["Status", statusCell(row)], ["Time", duration(row.seconds)], row.phase && ["Phase", plain(row.phase)],
      run.info.constraints.length && ["Keeps the constraints", yesNo(row.feasible)],
      row.violation > 0 && ["Violation", number(row.violation)],
      run.info.pattern && ["Has the pattern", yesNo(row.pattern)],
      !run.audit && ["On the front", yesNo(run.front.has(row.trial))],
      ...Object.entries(row.factors ?? {}).map(([name, value]) => [plain(name, 30), plain(textOf(value) ?? NONE, 80)])];
    const link = ownLink(row.nni);
    return h("div", { class: "trial-facts" }, list(first, "numbers main-numbers"), list(own.filter(Boolean), "numbers"),
      rest.length > 0 && drawer(`All metrics (${rest.length + first.length})`, list(rest, "numbers")),
      link && h("p", {}, h("a", { href: link }, "This trial on NNI's own page")));
  }

  faults() {
    const { row } = this;
    return [
      ...(row.notices ?? []).map((text) => h("p", { class: "notice" }, plain(text, 1000))),
      row.stopped && h("p", { class: "notice" }, `Stopped early: ${plain(row.stopped, 1000)}`),
      row.error && h("div", { class: "error" }, h("h3", {}, "Why it failed"), h("pre", { tabindex: "0" }, row.error)),
    ];
  }

  cells() {
    const { detail, row, run } = this;
    const fixed = Object.entries(run.info.fixed ?? {}).filter(([, edges]) => edges.length);
    const marked = fixed.map(([cell, edges]) => h("li", {}, `${plain(cell, 30)}: `,
      edges.map(([source, target, operation]) => h("code", {}, `${source} → ${target} ${plain(operation, 40)}`))));
    return h("section", {}, h("h3", {}, "Architecture"),
      detail.cells?.length ? cellFigures(detail.cells) : null,
      detail.reading && h("p", { class: "note" }, plain(detail.reading, 600)),
      marked.length > 0 && drawer("Edges that the pattern fixes", h("ul", { class: "edges" }, marked)),
      row.architecture && textBlock("As text", row.architecture, { open: !detail.cells?.length }));
  }

  leakage() {
    const { detail } = this;
    const roc = detail.roc ?? [];
    const classes = detail.classes ?? [];
    if (!roc.length && !classes.length) return null;
    return h("section", {}, h("h3", {}, "What an attacker learns"), h("div", { class: "pair" },
      roc.length > 0 && this.chart("ROC", "roc", (chart) => showRoc(chart, roc)),
      classes.length > 0 && this.chart("By class", "classes", (chart) => showClasses(chart, classes, "AUC"))),
    classes.length > 0 && classesTable(classes));
  }

  curves() {
    const curves = Object.entries(this.detail.curves ?? {}).filter(([, values]) => values.some((one) => typeof one === "number"));
    if (!curves.length) return null;
    const small = curves.filter(([, values]) => values.every((one) => one === null || (one >= 0 && one <= 1)));
    const shown = small.length ? small : curves;
    const traces = shown.map(([name, values]) => ({ name: plain(this.run.title(name), 40), values }));
    const rows = curves.map(([name, values]) => [plain(this.run.title(name), 40), values.length, number(values.at(-1))]);
    const draw = (chart) => chart.show((dark) => window.privacyCharts.curvesOption({ traces, title: "", dark }),
      { label: `After each epoch: ${traces.map((one) => one.name).join(", ")}.`, signature: [traces] });
    return h("section", {}, this.chart("Epoch by epoch", "epochs", draw),
      drawer("Last values", table(["Metric", "Epochs", "Last"], rows, "Last values of the curves")));
  }

  exposed() {
    const records = this.detail.exposed ?? [];
    if (!records.length) return null;
    const rows = records.map((one) => [`${one.index}`, plain(one.class ?? NONE, 40), number(one.percentile),
      typeof one.found === "number" ? `${one.found} of ${one.of ?? NONE}` : NONE]);
    return h("section", {}, h("h3", {}, "The most exposed records"),
      h("p", { class: "note" }, "Members that attacks score above most non-members. Percentile is the share of non-members below."),
      table(["Record", "Class", "Percentile", "Found at 1% false alarms"], rows, "The most exposed records"));
  }

  confirmed() {
    const { confirmed } = this.detail;
    if (!confirmed) return null;
    const metrics = Object.entries(confirmed.metrics ?? {}).filter(([, one]) => typeof one?.mean === "number");
    const rows = metrics.map(([name, one]) => [plain(this.run.title(name), 60), number(this.run.value(this.row, name)),
      number(one.mean, one), short(one.count)]);
    return h("section", {}, h("h3", {}, "Confirmed with fresh seeds"),
      rows.length ? table(["Metric", "Searched", "Mean of fresh seeds", "Seeds"], rows, "Confirmed values") : h("p", {}, "No metric could be confirmed."));
  }

  texts() {
    const { detail } = this;
    return h("section", { class: "texts" }, h("h3", {}, "Files"),
      detail.log ? textBlock("Log", detail.log) : h("p", { class: "note" }, "No log was kept."),
      detail.config && textBlock("Configuration", detail.config));
  }
}

function list(pairs, kind) {
  return h("dl", { class: kind }, pairs.map(([what, value]) => h("div", {}, h("dt", {}, what), h("dd", {}, value))));
}

/** What a trial is called in a heading. */
export function headingOf(run, row) {
  return run.audit ? `Attack ${plain(row.trial, 60)}` : `Trial ${plain(row.trial, 60)}, No. ${row.sequence}`;
}

/** A sentence on an AUC for a person who does no research. */
export function inWords(run, row) {
  const auc = run.value(row, "mia_auc");
  if (auc === null) return "";
  const { low } = run.interval(row, "mia_auc");
  const over = low !== null && low <= 0.5 ? "This is not told from guessing." : "";
  return `Shown one record that was trained on and one that was not, an attacker tells them apart ${count(Math.round(auc * 100), "time")} in 100; a guess does 50. ${over}`.trim();
}
