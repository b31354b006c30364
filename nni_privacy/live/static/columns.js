/** Columns of the table of trials: which there are in a run, which are shown first, what stands in a cell. */

import { h } from "./dom.js";
import { NONE, duration, full, number, plain } from "./numbers.js";
import { mainFactors, textOf, varying } from "./filters.js";

const MOST_FACTORS = 6;
const MOST_METRICS = 5;
const RATE = /tpr_at_1pct_fpr$/;

/** All columns of a run: `{key, title, value(row), cell(row), numeric, always}`. */
export function columnsOf(run) {
  const info = run.info;
  const found = [
    { key: "sequence", title: "No.", numeric: true, always: true, value: (row) => row.sequence,
      cell: (row) => String(row.sequence) },
    { key: "trial", title: run.audit ? "Attack" : "Trial", always: true, value: (row) => row.trial, cell: null },
    { key: "status", title: "Status", value: (row) => row.status, cell: statusCell },
  ];
  if (run.ordered.some((row) => row.phase)) {
    found.push({ key: "phase", title: "Phase", value: (row) => row.phase, cell: (row) => plain(row.phase ?? NONE, 30) });
  }
  for (const name of varying(run)) {
    const value = (row) => row.factors?.[name] ?? null;
    found.push({ key: `f.${name}`, title: plain(name, 30), factor: true, numeric: false, value,
      cell: (row) => factorCell(textOf(value(row)) ?? NONE) });
  }
  for (const metric of run.shown) found.push(metricColumn(run, metric));
  if (info.constraints.length) {
    found.push({ key: "feasible", title: "Keeps constraints", value: (row) => truth(row.feasible), cell: feasibleCell });
  }
  if (info.pattern) {
    found.push({ key: "pattern", title: "Has the pattern", value: (row) => truth(row.pattern),
      cell: (row) => yesNo(row.pattern) });
  }
  found.push({ key: "seconds", title: "Time", numeric: true, value: (row) => row.seconds,
    cell: (row) => h("span", { title: row.seconds === null ? null : `${row.seconds} s` }, duration(row.seconds)) });
  return found;
}

function factorCell(text) {
  return text.length > 24 ? h("span", { class: "wrapped", title: plain(text, 400) }, plain(text, 120)) : plain(text);
}

function metricColumn(run, metric) {
  return {
    key: metric.name, title: metric.title, numeric: true, metric,
    value: (row) => run.value(row, metric.name),
    cell: (row) => number(run.value(row, metric.name), run.interval(row, metric.name)),
  };
}

/** Keys of the columns that are shown before somebody chooses: axes, constraints, other attacks, a rate of true positives. */
export function firstColumns(run, columns) {
  const { x, y, constraints } = run.info;
  const metrics = columns.filter((column) => column.metric);
  const wanted = [x, y, ...constraints.map((one) => one.metric)];
  const others = metrics.filter(({ metric }) => metric.group === "attack" && /mia_auc$/.test(metric.name));
  const rates = metrics.filter(({ key }) => RATE.test(key)).slice(0, 1);
  const rest = run.audit ? metrics : [...others, ...rates, ...metrics.filter(({ key }) => key === "overfitting")];
  const keys = [...new Set([...wanted, ...rest.map((column) => column.key)])]
    .filter((key) => metrics.some((column) => column.key === key));
  const factors = mainFactors(run).slice(0, MOST_FACTORS).map((name) => `f.${name}`);
  const plainOnes = columns.filter((column) => !column.metric && !column.factor).map((column) => column.key);
  const same = new Set(run.ordered.map((row) => row.pattern)).size < 2 ? ["pattern"] : [];
  const dropped = run.audit ? ["sequence", "status", "seconds"] : same;
  return new Set([...plainOnes, ...factors, ...keys.slice(0, MOST_METRICS)].filter((key) => !dropped.includes(key)));
}

function truth(value) {
  return typeof value === "boolean" ? Number(value) : null;
}

export function yesNo(value) {
  if (typeof value !== "boolean") return NONE;
  return h("span", { class: value ? "yes" : "no" }, value ? "yes" : "no");
}

function feasibleCell(row) {
  if (row.feasible === false && typeof row.violation === "number") {
    return h("span", { class: "no", title: `violation: ${full(row.violation)}` }, "no");
  }
  return yesNo(row.feasible);
}

export function statusCell(row) {
  const known = { succeeded: "good", failed: "bad", stopped: "warned" };
  const why = row.error ?? row.stopped;
  return h("span", { class: `status ${known[row.status] ?? ""}`, title: why ? plain(why, 300) : null },
    plain(row.status, 20), row.notices?.length ? h("span", { class: "mark", title: plain(row.notices[0], 300) }, " !") : null);
}

/** Compares two values of a column; what is missing is last either way. */
export function compare(one, two, descending) {
  const missing = (value) => value === null || value === undefined;
  if (missing(one) || missing(two)) return Number(missing(one)) - Number(missing(two));
  const sign = descending ? -1 : 1;
  if (typeof one === "number" && typeof two === "number") return sign * (one - two);
  return sign * String(textOf(one)).localeCompare(String(textOf(two)), "en", { numeric: true });
}
