/** How the search goes: what is under way, epoch by epoch; the best so far; the hypervolume. */

import { Chart } from "./chart.js";
import { fill, h, labelledSelect, setOptions, show } from "./dom.js";
import { count, duration, inText, number, plain, short } from "./numbers.js";

const FEASIBLE = "best_feasible";

/** Trials that are being trained, each with its epoch, and one chart of what they have reported so far. */
export class UnderWay {
  constructor({ theme }) {
    this.metric = null;
    const onchange = (value) => { this.metric = value; this.draw(); };
    this.select = labelledSelect({ label: "Shows", name: "trace", options: [], value: "", onchange });
    this.list = h("ul", { class: "under-way" });
    this.chart = new Chart({ title: "Under way", name: "under-way", theme, kind: "beside under-way-panel" });
    this.element = this.chart.element;
    this.chart.element.querySelector(".panel-head").after(this.list, h("div", { class: "fields" }, this.select.field));
  }

  render(run) {
    this.run = run;
    show(this.element, run.info.running.length > 0);
    if (!run.info.running.length) return;
    fill(this.list, run.info.running.map((trial) => this.item(trial)));
    this.draw();
  }

  name(trial) { return trial.title ?? `No. ${trial.sequence}`; }

  item(trial) {
    const { epoch, epochs, since } = trial;
    const known = typeof epoch === "number" && typeof epochs === "number" && epochs > 0;
    const bar = known && h("progress", { max: epochs, value: epoch, "aria-label": this.name(trial) });
    const words = typeof epoch === "number" ? `epoch ${epoch}${known ? ` of ${epochs}` : ""}` : "starting";
    const time = typeof since === "number" ? `, ${duration(since)}` : "";
    const last = Object.entries(trial.curves ?? {}).map(([name, values]) => [name, values.at(-1)])
      .filter(([, value]) => typeof value === "number").slice(0, 3);
    return h("li", {}, h("strong", {}, this.name(trial)), bar, h("span", {}, `${words}${time}`),
      last.length > 0 && h("span", { class: "latest" }, last.map(([name, value], at) =>
        [at ? ", " : "", `${plain(this.run.title(name), 30)} `, number(value)])));
  }

  draw() {
    const { running } = this.run.info;
    const names = [...new Set(running.flatMap((trial) => Object.keys(trial.curves ?? {})))];
    const metric = names.includes(this.metric) ? this.metric : (names.find((name) => /mia_auc$/.test(name)) ?? names[0]);
    setOptions(this.select.select, names.map((name) => [name, plain(this.run.title(name))]), metric ?? "");
    show(this.select.field, names.length > 1);
    show(this.chart.canvas.parentElement, names.length > 0);
    if (!names.length) return;
    const traces = running.filter((trial) => trial.curves?.[metric]?.length)
      .map((trial) => ({ name: this.name(trial), values: trial.curves[metric] }));
    const title = this.run.title(metric);
    const build = (dark) => window.privacyCharts.curvesOption({ traces, title, dark });
    const label = `${title} after each epoch of ${count(traces.length, "trial")} under way; the list above has the last values.`;
    this.chart.show(build, { label, signature: [metric, traces] });
  }
}

/** The best value so far, over the trials in the order of the search. */
export class BestSoFar {
  constructor({ theme, open }) {
    this.chart = new Chart({ title: "Progress", name: "progress", theme, pick: open, kind: "progress", tall: true });
    this.element = this.chart.element;
  }

  render(run) {
    const { info } = run;
    const measured = run.ordered.some((row) => run.value(row, info.x) !== null || run.value(row, info.y) !== null);
    show(this.element, !run.audit && !run.study && measured);
    if (this.element.hidden) return;
    const bounded = info.constraints.length > 0;
    const first = bounded
      ? { metric: FEASIBLE, title: `Feasible ${inText(run.title(info.x))}`, better: run.better(info.x) }
      : panelOf(run, info.x);
    const panels = [first, panelOf(run, info.y)];
    const names = panels.flatMap((panel) => [panel.metric, panel.low, panel.high]).filter(Boolean);
    const rows = run.ordered.map((row) => ({ trial: row.trial, sequence: row.sequence, status: row.status,
      metrics: { ...Object.fromEntries(names.map((name) => [name, row.metrics[name]])),
        ...(bounded && { [FEASIBLE]: row.feasible ? run.value(row, info.x) : null }) } }));
    const build = (dark) => window.privacyCharts.progressOption({ rows, panels, dark });
    const best = run.rows.get(info.best_feasible);
    const word = best ? `The best${bounded ? " that keeps the constraints" : ""} is ${plain(best.trial, 20)} with ${short(run.value(best, info.x))}.` : "";
    this.chart.show(build, { label: `Best values so far over ${count(rows.length, "trial")}. ${word}`, signature: [run.key, panels, rows] });
  }
}

function panelOf(run, name) {
  const metric = run.metrics.get(name) ?? { low: null, high: null };
  const title = /mia_auc$/.test(name) ? "AUC" : run.title(name); // beside a low panel a long one has no room
  return { metric: name, title, better: run.better(name), low: metric.low, high: metric.high };
}

/** How much of the plane of both metrics the front covers, over time. */
export class Hypervolume {
  constructor({ theme }) {
    this.chart = new Chart({ title: "Hypervolume", name: "hypervolume", theme, kind: "beside",
      note: "The area that the front covers: it grows while the search finds better trade-offs, and is flat when it finds none." });
    this.element = this.chart.element;
  }

  render(run) {
    const points = run.info.hypervolume ?? [];
    show(this.element, !run.audit && !run.study && points.length > 1);
    if (this.element.hidden) return;
    const build = (dark) => window.privacyCharts.hypervolumeOption({ points, dark });
    const label = `Hypervolume of the front, from ${short(points[0][1])} to ${short(points.at(-1)[1])} after trial ${points.at(-1)[0]}.`;
    this.chart.show(build, { label, signature: [run.key, points] });
  }
}
