/** The panel that opens beside the page: a trial, or two of them. Escape closes it; the address holds what it shows. */

import { fill, h, icon, setOptions, setText, show } from "./dom.js";
import { getJson } from "./feed.js";
import { CLOSE, LEFT, RIGHT } from "./icons.js";
import { plain } from "./numbers.js";
import { CompareView } from "./compare.js";
import { TrialView, headingOf, inWords } from "./trial.js";

const MOST_OFFERED = 200;

export class Panel {
  constructor({ dialog, route, theme, table }) {
    Object.assign(this, { dialog, route, theme, table, view: null, shown: null });
    const button = (label, paths, onclick) => {
      const made = h("button", { type: "button", class: "tool icon-only", "aria-label": label, title: label, onclick });
      made.append(icon(paths));
      return made;
    };
    this.title = h("h2", { id: "panel-title", tabindex: "-1", autofocus: true });
    this.words = h("p", { class: "note" });
    this.back = button("Trial before, in the table's order", LEFT, () => this.step(-1));
    this.next = button("Next trial, in the table's order", RIGHT, () => this.step(1));
    this.with = h("select", { name: "with", onchange: () => this.route.set({ with: this.with.value }) });
    this.field = h("label", { class: "field inline" }, h("span", {}, "Compare with"), this.with);
    this.content = h("div", { class: "panel-content" });
    dialog.append(h("div", { class: "drawer-head" }, this.title,
      h("div", { class: "head-tools" }, this.field, this.back, this.next, button("Close", CLOSE, () => this.close()))),
    this.words, this.content);
    dialog.addEventListener("cancel", (event) => { event.preventDefault(); this.close(); });
    dialog.addEventListener("click", (event) => { if (event.target === dialog) this.close(); });
    dialog.addEventListener("keydown", (event) => this.key(event));
  }

  /** Shows what the address asks for; closes where it asks for nothing. */
  render(run, { changed = new Set() } = {}) {
    this.run = run;
    const trial = run === null ? null : this.route.get("trial");
    if (trial === null) {
      this.hide();
      return;
    }
    const other = this.route.get("with");
    const wanted = JSON.stringify([run.key, trial, other]);
    const anew = changed.has(trial) || changed.has(other);
    if (!this.dialog.open) this.dialog.showModal();
    this.renderHead(trial, other);
    if (wanted === this.shown && !anew) return;
    this.shown = wanted;
    this.load(run, trial, other, wanted);
  }

  renderHead(trial, other) {
    const row = this.run.rows.get(trial);
    const second = other === null ? null : this.run.rows.get(other);
    if (!row) setText(this.title, `Trial ${plain(trial, 60)}`);
    else setText(this.title, second ? `Trials ${plain(trial, 30)} and ${plain(other, 30)}` : headingOf(this.run, row));
    const words = row && other === null ? inWords(this.run, row) : "";
    setText(this.words, words);
    show(this.words, words !== "");
    const pairs = this.run.ordered.filter((one) => one.trial !== trial);
    const near = pairs.length <= MOST_OFFERED ? pairs
      : pairs.filter((one) => this.run.front.has(one.trial) || one.trial === other).slice(0, MOST_OFFERED);
    setOptions(this.with, [["", "nothing"], ...near.map((one) => [one.trial, `${plain(one.trial, 24)} (No. ${one.sequence})`])], other ?? "");
    show(this.field, pairs.length > 0);
    this.back.disabled = other !== null || this.table.beside(trial, -1) === null;
    this.next.disabled = other !== null || this.table.beside(trial, 1) === null;
  }

  async load(run, trial, other, wanted) {
    const ids = other === null ? [trial] : [trial, other];
    const rows = ids.map((id) => run.rows.get(id));
    const unknown = ids.find((id, at) => !rows[at]);
    if (unknown !== undefined) {
      this.put(null, h("p", { class: "empty" }, `There is no finished trial ${plain(unknown, 60)} in this run.`));
      this.shown = null; // it may finish yet
      return;
    }
    if (!this.view) this.put(null, h("p", { class: "empty" }, "Asking the server…"));
    try {
      const details = await Promise.all(ids.map((id) => getJson(addressOf(run, id))));
      if (this.shown !== wanted) return;
      const view = other === null
        ? new TrialView({ run, row: rows[0], detail: details[0], theme: this.theme })
        : new CompareView({ run, rows, details, theme: this.theme });
      this.put(view, view.element);
    } catch (error) {
      if (this.shown !== wanted) return;
      const again = h("button", { type: "button", onclick: () => { this.shown = null; this.render(run); } }, "Try again");
      this.put(null, h("p", { class: "empty" }, error.message, " ", again));
    }
  }

  put(view, element) {
    this.view?.dispose();
    this.view = view;
    this.dialog.classList.toggle("wide", this.route.get("with") !== null);
    fill(this.content, element);
    view?.drawn();
  }

  step(step) {
    const beside = this.table.beside(this.route.get("trial"), step);
    if (beside === null) return;
    this.dialog.scrollTop = 0;
    this.route.set({ trial: beside });
  }

  key(event) {
    const typing = event.target.closest("input, select, pre, .canvas, [role=region]");
    if (typing || event.altKey || event.ctrlKey || event.metaKey) return;
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (step && this.route.get("with") === null) this.step(step);
  }

  close() {
    this.route.set({ trial: null, with: null });
  }

  hide() {
    if (!this.dialog.open) return;
    const last = JSON.parse(this.shown ?? "[]")[1];
    this.put(null, []);
    this.shown = null;
    this.dialog.close();
    if (last !== undefined && (document.activeElement === null || document.activeElement === document.body
      || this.table.body.contains(document.activeElement))) this.table.focus(last);
  }
}

/** Where a trial's details are. `.` and `..` cannot be part of an address. */
function addressOf(run, trial) {
  if (/^\.{1,2}$/.test(trial)) throw new Error("A trial of this name has no address.");
  return `api/runs/${encodeURIComponent(run.key)}/trials/${encodeURIComponent(trial)}`;
}
