/**
 * The table of all trials: sortable, in pages, with one row that the arrow keys move.
 *
 * A row keeps its element while its trial is shown, so that focus, selection and scroll stay where they are when a
 * trial is added.
 */

import { fill, h, setText } from "./dom.js";
import { columnsOf, compare, firstColumns } from "./columns.js";
import { plain, whole } from "./numbers.js";

const PAGE = 50;

export class TrialTable {
  constructor({ route, pairs }) {
    this.route = route;
    this.pairs = pairs;
    this.page = 0;
    this.current = null;
    this.bodies = new Map();
    this.wishes = new Map();
    this.shownFor = null;
    this.head = h("tr");
    this.body = h("tbody", { onkeydown: (event) => this.key(event), onclick: (event) => this.click(event) });
    this.caption = h("caption", { class: "visually-hidden" });
    this.table = h("table", { class: "trials", id: "trials" }, this.caption, h("thead", {}, this.head), this.body);
    this.empty = h("p", { class: "empty", hidden: true });
    this.menu = h("div", { class: "menu", role: "group", "aria-label": "Columns of the table" });
    this.columnsMenu = h("details", { class: "columns" }, h("summary", {}, "Columns"), this.menu);
    this.pager = this.makePager();
    this.element = h("div", { class: "table-box" },
      h("div", { class: "scroll", tabindex: "-1" }, this.table), this.empty, this.pager.element);
    this.columnsMenu.addEventListener("keydown", (event) => this.closeMenu(event));
  }

  /** Shows rows; `flags(row)` names the classes and words that mark one. */
  render(run, rows, flags) {
    Object.assign(this, { run, rows, flags });
    if (this.shownFor !== run.key) this.startRun();
    this.columns = columnsOf(run);
    this.chosen = this.chooseColumns();
    this.visible = this.columns.filter((column) => column.always && column.key !== "sequence" || this.chosen.has(column.key));
    this.sorted = this.sort(rows);
    this.page = Math.max(0, Math.min(this.page, Math.ceil(this.sorted.length / PAGE) - 1));
    this.renderHead();
    this.renderMenu();
    this.renderBody();
  }

  /** Those that are shown first, which grow with what the run's trials report, and what somebody changed of it. */
  chooseColumns() {
    const chosen = firstColumns(this.run, this.columns);
    for (const [key, shown] of this.wishes) chosen[shown ? "add" : "delete"](key);
    return chosen;
  }

  startRun() {
    this.shownFor = this.run.key;
    this.wishes.clear();
    this.page = 0;
    this.current = null;
    this.bodies.clear();
    this.sortedPage = null;
  }

  /** The order: what the address says, else the newest first in a search. */
  get order() {
    const said = this.route.get("sort") ?? (this.run.audit || this.run.study ? "sequence" : "-sequence");
    return said.startsWith("-") ? { key: said.slice(1), descending: true } : { key: said, descending: false };
  }

  sort(rows) {
    const { key, descending } = this.order;
    const column = this.columns.find((one) => one.key === key) ?? this.columns[0];
    const values = new Map(rows.map((row) => [row, column.value(row)]));
    const ties = descending && key === "sequence" ? -1 : 1;
    return [...rows].sort((one, two) =>
      compare(values.get(one), values.get(two), descending) || ties * (one.sequence - two.sequence));
  }

  /** Goes to the page that a trial is on. */
  reveal(trial) {
    const at = this.sorted?.findIndex((row) => row.trial === trial) ?? -1;
    if (at < 0) return;
    this.current = trial;
    this.turn(Math.floor(at / PAGE));
  }

  /** The trial before or after another in the order of the table; null at its ends. */
  beside(trial, step) {
    const at = this.sorted.findIndex((row) => row.trial === trial);
    return at < 0 ? null : (this.sorted[at + step]?.trial ?? null);
  }

  focus(trial) {
    this.reveal(trial);
    this.bodies.get(trial)?.tr.focus({ preventScroll: false });
  }

  turn(page) {
    this.page = page;
    this.renderBody();
  }

  renderHead() {
    const { key, descending } = this.order;
    const signature = JSON.stringify([this.visible.map((column) => [column.key, column.title]), key, descending]);
    if (signature === this.headSignature) return;
    this.headSignature = signature;
    const focused = this.head.contains(document.activeElement) ? document.activeElement.dataset.key : null;
    fill(this.head, h("th", { scope: "col", class: "tick" }, h("span", { class: "visually-hidden" }, "Compare")),
      this.visible.map((column) => this.headCell(column, key === column.key, descending)));
    if (focused) [...this.head.querySelectorAll("button")].find((one) => one.dataset.key === focused)?.focus();
  }

  headCell(column, sorted, descending) {
    const next = sorted ? !descending : column.metric?.better === "high" || column.key === "sequence";
    const button = h("button", {
      type: "button", dataset: { key: column.key }, title: column.metric ? `${column.title} (${column.key})` : null,
      onclick: () => { this.page = 0; this.route.set({ sort: `${next ? "-" : ""}${column.key}` }); },
    }, column.title);
    const order = sorted ? (descending ? "descending" : "ascending") : null;
    return h("th", { scope: "col", class: column.numeric ? "numeric" : "text", "aria-sort": order }, button);
  }

  renderMenu() {
    const signature = this.columns.map((column) => `${column.key} ${this.chosen.has(column.key)}`).join("\u0000");
    if (signature === this.menuSignature || this.menu.contains(document.activeElement)) return;
    this.menuSignature = signature;
    const optional = this.columns.filter((column) => !column.always || column.key === "sequence");
    fill(this.menu, optional.map((column) => h("label", { class: "check" },
      h("input", { type: "checkbox", checked: this.chosen.has(column.key), onchange: (event) => {
        this.wishes.set(column.key, event.target.checked);
        this.render(this.run, this.rows, this.flags);
      } }), column.title)));
  }

  closeMenu(event) {
    if (event.key !== "Escape" || !this.columnsMenu.open) return;
    this.columnsMenu.open = false;
    this.columnsMenu.querySelector("summary").focus();
    event.stopPropagation();
  }

  renderBody() {
    const rows = this.sorted.slice(this.page * PAGE, (this.page + 1) * PAGE);
    if (!rows.some((row) => row.trial === this.current)) this.current = rows[0]?.trial ?? null;
    const active = this.body.contains(document.activeElement) ? document.activeElement : null;
    const shown = new Set(rows.map((row) => row.trial));
    for (const trial of this.bodies.keys()) if (!shown.has(trial)) this.bodies.delete(trial);
    const columns = this.visible.map((column) => column.key).join("\u0000");
    fill(this.body, rows.map((row) => this.rowOf(row, columns)));
    if (active && document.activeElement !== active && active.isConnected) active.focus({ preventScroll: true });
    setText(this.caption, `All ${this.run.noun}s: ${this.sorted.length}, page ${this.page + 1}. Arrow keys move, Enter opens.`);
    this.empty.hidden = rows.length > 0;
    const none = this.run.ordered.length ? `No ${this.run.noun} fits the filters.` : `No ${this.run.noun} has finished yet.`;
    setText(this.empty, none);
    this.updatePager(rows.length);
  }

  /** The element of a row: the one that it has, with cells made anew only where something in it has changed. */
  rowOf(row, columns) {
    if (!this.bodies.has(row.trial)) this.bodies.set(row.trial, this.emptyRow(row.trial));
    const held = this.bodies.get(row.trial);
    const flags = this.flags(row);
    const signature = `${columns}|${flags.join(" ")}`;
    if (held.row !== row || held.signature !== signature) {
      Object.assign(held, { row, signature });
      held.tr.className = flags.join(" ");
      held.tr.replaceChildren(held.tick, ...this.visible.map((column) => this.cell(column, row, held, flags)));
    }
    const chosen = this.pairs.has(row.trial);
    if (held.box.checked !== chosen) held.box.checked = chosen;
    const at = row.trial === this.current;
    held.tr.tabIndex = at ? 0 : -1;
    held.link.tabIndex = held.box.tabIndex = at ? 0 : -1;
    return held.tr;
  }

  emptyRow(trial) {
    const tr = h("tr", { dataset: { trial } });
    const box = h("input", { type: "checkbox", "aria-label": `Compare ${plain(trial, 40)}`,
      onchange: () => this.pairs.toggle(trial) });
    const link = h("a", { class: "trial-link", href: this.route.linkTo(trial) }, plain(trial, 24));
    if (trial.length > 24) link.title = plain(trial, 300);
    return { tr, box, link, tick: h("td", { class: "tick" }, box), row: null, signature: null };
  }

  cell(column, row, held, flags) {
    if (column.key === "trial") {
      const words = [["front", "front"], ["best", "best"], ["nearest", "nearest"]].filter(([flag]) => flags.includes(flag));
      return h("th", { scope: "row", class: "text" }, held.link,
        words.map(([flag, word]) => h("span", { class: `badge ${flag}` }, word)));
    }
    return h("td", { class: column.numeric ? "numeric" : "text" }, column.cell(row));
  }

  click(event) {
    const tr = event.target.closest("tr");
    if (!tr || event.target.closest("input, .tick") || event.ctrlKey || event.metaKey || event.shiftKey) return;
    if (String(getSelection()) !== "") return; // somebody selects text
    event.preventDefault();
    this.current = tr.dataset.trial;
    this.route.set({ trial: tr.dataset.trial, with: null }, { step: true });
  }

  key(event) {
    const tr = event.target.closest("tr");
    if (!tr || event.altKey || event.ctrlKey || event.metaKey) return;
    if (event.key === "Enter" && event.target === tr) {
      event.preventDefault();
      this.route.set({ trial: tr.dataset.trial, with: null }, { step: true });
      return;
    }
    const moves = { ArrowDown: 1, ArrowUp: -1, Home: -Infinity, End: Infinity, PageDown: 10, PageUp: -10 };
    if (!(event.key in moves)) return;
    event.preventDefault();
    const rows = [...this.body.rows];
    const to = Math.max(0, Math.min(rows.length - 1, rows.indexOf(tr) + moves[event.key]));
    this.current = rows[to].dataset.trial;
    this.renderBody();
    rows[to].focus();
  }

  makePager() {
    const button = (text, step) => h("button", { type: "button", onclick: () => this.turn(step()) }, text);
    const last = () => Math.max(0, Math.ceil(this.sorted.length / PAGE) - 1);
    const pager = {
      first: button("First", () => 0), back: button("Previous", () => this.page - 1), text: h("span"),
      next: button("Next", () => this.page + 1), last: button("Last", last),
    };
    pager.element = h("nav", { class: "pager", "aria-label": "Pages of the table" },
      pager.first, pager.back, pager.text, pager.next, pager.last);
    return pager;
  }

  updatePager(count) {
    const from = this.page * PAGE;
    const total = this.sorted.length;
    setText(this.pager.text, `${whole(from + 1)} to ${whole(from + count)} of ${whole(total)}`);
    for (const [name, off] of [["first", !this.page], ["back", !this.page],
      ["next", from + count >= total], ["last", from + count >= total]]) this.pager[name].disabled = off;
    this.pager.element.hidden = total <= PAGE;
  }
}
