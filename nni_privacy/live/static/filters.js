/** Filters: one `select` for each thing that rows differ in, and a search in their names. Kept in the address. */

import { h, setOptions, setText } from "./dom.js";
import { plain, whole as count } from "./numbers.js";

const MOST_VALUES = 60;
const ALL = ["", "all"];

/** What rows can be told apart by: how it is called, and what a row says to it (null: nothing). */
function questions(run) {
  const yes = (value) => (typeof value === "boolean" ? (value ? "yes" : "no") : null);
  const asked = [
    { key: "status", label: "Status", of: (row) => row.status },
    { key: "phase", label: "Phase", of: (row) => row.phase },
    { key: "feasible", label: "Keeps constraints", of: (row) => yes(row.feasible), when: run.info.constraints.length },
    { key: "front", label: "On the front", of: (row) => yes(run.front.has(row.trial)), when: !run.audit },
    { key: "pattern", label: "Has the pattern", of: (row) => yes(row.pattern), when: run.info.pattern },
  ].filter((question) => question.when === undefined || question.when);
  for (const name of mainFactors(run)) {
    asked.push({ key: `f.${name}`, label: plain(name, 30), of: (row) => textOf(row.factors?.[name]) });
  }
  return asked;
}

/** A factor's value as a text; null if it has none. */
export function textOf(value) {
  if (value === null || value === undefined) return null;
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}

const differing = new WeakMap();

/** Factors that the rows differ in: the columns and filters of a study. Looked for once as long as no row changes. */
export function varying(run) {
  if (!differing.has(run.ordered)) differing.set(run.ordered, lookedFor(run));
  return differing.get(run.ordered);
}

function lookedFor(run) {
  const values = new Map();
  for (const row of run.ordered) {
    for (const [name, value] of Object.entries(row.factors ?? {})) {
      if (!values.has(name)) values.set(name, new Set());
      values.get(name).add(textOf(value));
    }
  }
  return [...values].filter(([, different]) => different.size > 1).map(([name]) => name);
}

/** Those of a study; of a search whose size is searched, the size alone, as the others say the same again. */
export function mainFactors(run) {
  const names = varying(run);
  return run.study ? names : names.slice(0, 1);
}

export class Filters {
  constructor(route) {
    this.route = route;
    this.fields = new Map();
    this.search = h("input", {
      type: "search", name: "q", placeholder: "id, architecture, error", autocomplete: "off", spellcheck: "false",
      oninput: () => route.set({ q: this.search.value }),
    });
    this.shown = h("p", { class: "shown" });
    this.clear = h("button", { type: "button", class: "quiet", onclick: () => this.reset() }, "Clear filters");
    this.box = h("div", { class: "fields" });
    this.element = h("div", { class: "filters", role: "group", "aria-label": "Filters" }, this.box,
      h("label", { class: "field wide" }, h("span", {}, "Search"), this.search),
      h("div", { class: "filter-state" }, this.shown, this.clear));
  }

  reset() {
    const keys = [...this.route.values.keys()].filter((key) => key === "q" || this.fields.has(key));
    this.route.set(Object.fromEntries(keys.map((key) => [key, null])));
    this.search.focus();
  }

  /** The rows that all filters let through; updates what the filters offer. */
  apply(run) {
    const asked = questions(run);
    const wanted = asked.filter((question) => this.offer(question, run));
    for (const [key, field] of this.fields) {
      field.label.hidden = !wanted.some((question) => question.key === key);
    }
    const active = asked.filter((question) => this.route.get(question.key));
    const text = (this.route.get("q") ?? "").toLowerCase();
    if (document.activeElement !== this.search && this.search.value !== text) this.search.value = this.route.get("q") ?? "";
    const rows = run.ordered.filter((row) =>
      active.every((question) => question.of(row) === this.route.get(question.key)) && (!text || matches(row, text)));
    this.active = active.length > 0 || text !== "";
    this.clear.hidden = !this.active;
    const all = run.ordered.length;
    setText(this.shown, this.active ? `${count(rows.length)} of ${count(all)} shown` : `All ${count(all)} shown`);
    return rows;
  }

  /** Makes or updates a filter's `select`; false if there is nothing to choose. */
  offer(question, run) {
    const values = new Set();
    for (const row of run.ordered) {
      const value = question.of(row);
      if (value !== null && value !== undefined) values.add(value);
    }
    const chosen = this.route.get(question.key) ?? "";
    if (chosen) values.add(chosen);
    const alone = values.size > 2 && values.size === run.ordered.length; // a value each is a name, not a group
    if (!chosen && (values.size < 2 || alone || values.size > MOST_VALUES)) return false;
    const field = this.field(question);
    const sorted = [...values].sort((one, two) => one.localeCompare(two, "en", { numeric: true }));
    setOptions(field.select, [ALL, ...sorted.map((value) => [value, plain(value)])], chosen);
    return true;
  }

  field(question) {
    if (!this.fields.has(question.key)) {
      const onchange = (event) => this.route.set({ [question.key]: event.target.value });
      const select = h("select", { name: question.key, onchange });
      const label = h("label", { class: "field" }, h("span", {}, question.label), select);
      this.fields.set(question.key, { label, select });
      this.box.append(label);
    }
    return this.fields.get(question.key);
  }
}

function matches(row, text) {
  const where = [row.trial, String(row.sequence), row.architecture, row.error, row.stopped, ...(row.notices ?? [])];
  return where.some((part) => part && String(part).toLowerCase().includes(text));
}
