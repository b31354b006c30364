/** The trade-off: any two metrics against each other, with intervals, front, and what breaks a constraint shaded. */

import { Chart } from "./chart.js";
import { h, labelledSelect, setOptions, show } from "./dom.js";
import { textOf, varying } from "./filters.js";
import { count, duration, plain, short } from "./numbers.js";
import { frontOf } from "./store.js";

const MOST_GROUPS = 6;
const GUESSING = "AUC tells how well an attacker knows a record that was trained on from another: .5 is guessing, 1 is certain.";

export class Tradeoff {
  constructor({ route, theme, open }) {
    this.route = route;
    const choose = (key) => (value) => route.set({ [key]: value });
    this.x = labelledSelect({ label: "Across", name: "x", options: [], value: "", onchange: choose("x") });
    this.y = labelledSelect({ label: "Up", name: "y", options: [], value: "", onchange: choose("y") });
    this.by = labelledSelect({ label: "Colour by", name: "by", options: [], value: "", onchange: choose("by") });
    this.bars = h("input", { type: "checkbox", name: "intervals", checked: true,
      onchange: () => route.set({ intervals: this.bars.checked ? null : "no" }) });
    this.fields = h("div", { class: "fields" }, this.x.field, this.y.field, this.by.field,
      h("label", { class: "check" }, this.bars, "95% intervals"));
    this.chart = new Chart({ title: "Trade-off", name: "tradeoff", theme, pick: open, kind: "tradeoff", tall: true });
    this.element = this.chart.element;
    this.chart.element.querySelector(".panel-head").after(this.fields);
  }

  get axes() {
    const names = this.run.shown.map((metric) => metric.name);
    const known = (key) => [this.route.get(key), this.run.info[key]].find((name) => names.includes(name));
    const x = known("x") ?? names[0];
    return { x, y: known("y") ?? names.find((name) => name !== x) ?? x };
  }

  /** Draws rows that passed the filters; `selected` are trials with a ring. */
  render(run, rows, { selected }) {
    this.run = run;
    show(this.fields, !run.audit && run.shown.length > 1);
    this.element.classList.toggle("bars", run.audit);
    if (!run.audit) this.chart.canvas.style.height = "";
    if (run.audit) this.renderAttacks(rows);
    else if (run.shown.length) this.renderPoints(rows, selected);
    else this.chart.say("The chart begins with the first trial that has metrics.");
    show(this.chart.canvas, run.shown.length > 0);
  }

  renderPoints(rows, selected) {
    const { run } = this;
    const { x, y } = this.axes;
    const metrics = run.shown.map((metric) => [metric.name, plain(metric.title)]);
    setOptions(this.x.select, metrics, x);
    setOptions(this.y.select, metrics, y);
    const groups = groupings(run);
    const by = groups.has(this.route.get("by")) ? this.route.get("by") : firstGrouping(run, groups);
    setOptions(this.by.select, [...groups].map(([key, { title }]) => [key, title]), by);
    show(this.by.field, groups.size > 1);
    this.bars.checked = this.route.get("intervals") !== "no";
    const known = rows.filter((row) => run.value(row, x) !== null && run.value(row, y) !== null);
    const own = x === run.info.x && y === run.info.y && known.length === run.ordered.length;
    const front = own ? run.info.front : frontOf(run, known, x, y);
    const points = inGroups(known.map((row) => this.point(row, x, y, groups.get(by).of)));
    const { info } = run;
    const build = (dark) => window.privacyCharts.tradeoffOption({
      points, xName: x, yName: y, xTitle: run.title(x), yTitle: run.title(y), front, selected, dark,
      constraints: info.constraints, better: { x: run.better(x), y: run.better(y) },
    });
    const signature = [run.key, x, y, selected, points, front, info.constraints, info.metrics];
    this.chart.show(build, { label: this.label(known, front, x, y), signature });
    this.chart.say(this.note(rows.length - known.length, x, y));
  }

  point(row, x, y, group) {
    const { run } = this;
    const ends = this.bars.checked ? run.interval(row, y) : { low: null, high: null };
    const lines = [row.status === "succeeded" ? null : plain(row.status)];
    if (typeof row.feasible === "boolean") lines.push(row.feasible ? "keeps the constraints" : "breaks a constraint");
    if (row.phase) lines.push(`phase: ${plain(row.phase)}`);
    for (const name of varying(run).length ? Object.keys(row.factors ?? {}).slice(0, 8) : []) {
      lines.push(`${plain(name, 30)}: ${plain(textOf(row.factors[name]) ?? "", 50)}`);
    }
    if (row.seconds !== null) lines.push(duration(row.seconds));
    return { trial: row.trial, sequence: row.sequence, x: run.value(row, x), y: run.value(row, y), ...ends,
      group: group(row) ?? undefined, lines: lines.filter(Boolean) };
  }

  note(without, x, y) {
    const { run } = this;
    const way = (name, high, low) => ({ high, low })[run.better(name)] ?? null;
    const ways = [way(x, "to the right", "to the left"), way(y, "up", "down")].filter(Boolean);
    const better = ways.length ? `Better is ${ways.join(" and ")}. ` : "";
    const lost = without ? `${count(without, "row has", "rows have")} no such values and ${without === 1 ? "is" : "are"} in the table only. ` : "";
    return `${better}${lost}${/auc/.test(x + y) ? GUESSING : ""}`;
  }

  label(rows, front, x, y) {
    const { run } = this;
    const names = front.slice(0, 5).map((trial) => run.rows.get(trial)).filter(Boolean)
      .map((row) => `${plain(row.trial, 20)} with ${short(run.value(row, x))} and ${short(run.value(row, y))}`);
    const more = names.length ? `, such as ${names.join("; ")}` : "";
    return `${run.title(x)} against ${run.title(y)} of ${count(rows.length, run.noun)}; ${front.length} on the front${more}. `
      + "The table below has all numbers; arrow keys go from point to point, Enter opens one.";
  }

  renderAttacks(rows) {
    const { run } = this;
    const name = run.metrics.has(run.info.y) ? run.info.y : run.shown[0]?.name;
    const bars = rows.map((row) => ({ name: plain(row.trial, 40), value: run.value(row, name), ...run.interval(row, name) }));
    const build = (dark) => window.privacyCharts.barsOption({ rows: bars, title: run.title(name), dark });
    const label = `${run.title(name)} of ${count(rows.length, "attack")}; the table below has all numbers.`;
    this.chart.title.textContent = "What each attack learns";
    this.chart.canvas.style.height = `${90 + 44 * bars.length}px`;
    this.chart.show(build, { label, signature: [run.key, bars] });
    this.chart.say(GUESSING);
  }
}

/** Points in the order of their groups' names, so that a group keeps its colour whichever trial came first. */
function inGroups(points) {
  const names = [...new Set(points.map((point) => point.group ?? ""))]
    .sort((one, two) => one.localeCompare(two, "en", { numeric: true }));
  const places = new Map(names.map((name, place) => [name, place]));
  return points.sort((one, two) => places.get(one.group ?? "") - places.get(two.group ?? ""));
}

/** What points can be coloured by, each with few enough values. */
function groupings(run) {
  const found = new Map([["", { title: "nothing", of: () => null }]]);
  const offer = (key, title, of) => {
    const values = new Set(run.ordered.map(of).filter((value) => value !== null));
    if (values.size > 1 && values.size <= MOST_GROUPS) found.set(key, { title, of });
  };
  const told = (value, yes, no) => (typeof value === "boolean" ? (value ? yes : no) : null);
  offer("feasible", "constraints", (row) => told(row.feasible, "keeps the constraints", "breaks a constraint"));
  offer("phase", "phase", (row) => (row.phase ? plain(row.phase, 30) : null));
  offer("pattern", "pattern", (row) => told(row.pattern, "has the pattern", "without the pattern"));
  for (const name of varying(run)) {
    offer(`f.${name}`, plain(name, 30), (row) => {
      const value = textOf(row.factors?.[name]);
      return value === null ? null : plain(value, 30);
    });
  }
  return found;
}

function firstGrouping(run, groups) {
  const wanted = run.study ? ["f.kind", "f.variant", "f.defence"] : ["feasible"];
  return wanted.find((key) => groups.has(key)) ?? "";
}
