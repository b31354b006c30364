/** The page: asks the server, and has each part show what came. */

import { fill, h, setText, show } from "./dom.js";
import { nameFiles, rowsAsCsv, save, saveText } from "./exports.js";
import { Feed } from "./feed.js";
import { Filters } from "./filters.js";
import { Head } from "./head.js";
import { count, plain } from "./numbers.js";
import { Pairs } from "./pairs.js";
import { Panel } from "./panel.js";
import { BestSoFar, Hypervolume, UnderWay } from "./progress.js";
import { Route } from "./router.js";
import { RunsView } from "./runs.js";
import { Run } from "./store.js";
import { Summary } from "./summary.js";
import { TrialTable } from "./table.js";
import { Theme } from "./theme.js";
import { Tradeoff } from "./tradeoff.js";

const SPOKEN_EVERY = 30000;
const INDEX_EVERY = 5000;

class App {
  constructor() {
    const at = (id) => document.getElementById(id);
    this.theme = new Theme();
    this.route = new Route();
    this.index = null;
    this.run = null;
    this.unspoken = 0;
    this.spokenAt = 0;
    this.gone = new Set();
    this.main = at("main");
    this.spoken = at("spoken");
    this.head = new Head({ bar: at("bar"), head: at("head"), route: this.route, theme: this.theme });
    this.build(at("panel"));
    at("skip").addEventListener("click", (event) => this.skip(event));
    this.route.addEventListener("change", () => this.routed());
    const pages = { address: () => "api/index", onData: (index) => this.indexed(index) };
    this.pages = new Feed({ ...pages, ...this.lines("index"), every: INDEX_EVERY }).start();
  }

  build(dialog) {
    const { route, theme } = this;
    const open = (trial) => route.set({ trial, with: null }, { step: true });
    this.lost = h("p", { class: "notice lost", role: "status", hidden: true });
    this.stray = h("p", { class: "notice", role: "status", hidden: true });
    this.runs = new RunsView();
    this.summary = new Summary({ open });
    this.tradeoff = new Tradeoff({ route, theme, open });
    this.underWay = new UnderWay({ theme });
    this.best = new BestSoFar({ theme, open });
    this.hypervolume = new Hypervolume({ theme });
    this.filters = new Filters(route);
    this.pairs = new Pairs(route);
    this.table = new TrialTable({ route, pairs: this.pairs });
    this.panel = new Panel({ dialog, route, theme, table: this.table });
    this.pairs.addEventListener("change", () => this.renderTable());
    this.title = h("h2", {}, "All trials");
    this.charts = h("div", { class: "charts" }, this.tradeoff.element, this.underWay.element, this.hypervolume.element, this.best.element);
    this.runBox = h("div", { class: "run", hidden: true }, this.summary.element,
      this.charts, this.tablePanel());
    fill(this.main, this.lost, this.stray, document.getElementById("waiting"), this.runs.element, this.runBox);
  }

  tablePanel() {
    const saveRows = () => saveText(rowsAsCsv(this.run, this.rows), `${save.stem}-shown.csv`, "text/csv");
    this.allRows = h("a", { class: "button quiet", download: "" }, "CSV of all");
    const shown = h("button", { type: "button", class: "quiet", onclick: saveRows }, "CSV of those shown");
    return h("section", { class: "panel" },
      h("div", { class: "panel-head" }, this.title, h("div", { class: "tools" }, this.table.columnsMenu, shown, this.allRows)),
      this.filters.element, this.pairs.element, this.table.element);
  }

  /** What a feed does when the server is gone, and back. */
  lines(name) {
    const onLost = (message) => {
      this.gone.add(name);
      setText(this.lost, message);
      show(this.lost, true);
      this.renderWaiting();
    };
    const onBack = () => {
      this.gone.delete(name);
      show(this.lost, this.gone.size > 0);
      this.renderWaiting();
      if (!this.gone.size) this.say("The server is back.");
    };
    return { onLost, onBack };
  }

  say(text) {
    setText(this.spoken, text);
  }

  skip(event) {
    event.preventDefault();
    const table = this.runBox.hidden ? this.runs.element.querySelector("a") : this.table.body.querySelector("tr[tabindex='0']");
    (table ?? this.main).focus();
  }

  /** The key of the run that is shown: the address', or the only one; null where the list of runs is. */
  get key() {
    const said = this.route.get("run");
    if (said !== null) return said;
    return this.index.runs.length === 1 ? this.index.runs[0].key : null;
  }

  indexed(index) {
    this.index = index;
    this.head.renderIndex(index, this.key);
    this.runs.render(index);
    if (this.key !== (this.run?.key ?? null) || this.run === null) this.routed();
  }

  routed() {
    if (this.index === null) return;
    const { key } = this;
    if (key !== (this.run?.key ?? null)) this.change(key);
    this.head.renderIndex(this.index, key);
    show(this.runs.element, key === null);
    this.renderWaiting();
    this.renderStray();
    if (this.run?.info) this.render();
    else this.panel.render(null);
  }

  /** Says that the server is asked, unless it has said that it has nothing. */
  renderWaiting() {
    const asked = this.index === null || (this.key !== null && !this.run?.info);
    show(document.getElementById("waiting"), asked && !this.gone.size);
  }

  /** Says that the list of runs has no trial, where the address names one without its run. */
  renderStray() {
    const trial = this.key === null ? this.route.get("trial") : null;
    setText(this.stray, trial === null ? "" : `There is no such trial here: ${plain(trial, 60)}. Open the run that it belongs to.`);
    show(this.stray, trial !== null);
  }

  /** Leaves a run and asks for another. */
  change(key) {
    this.feed?.stop();
    this.feed = null;
    this.run = null;
    this.pairs.clear();
    this.gone.delete("run");
    show(this.lost, this.gone.size > 0);
    show(this.runBox, false);
    this.head.renderRun(null);
    if (key === null) return;
    const run = new Run(key);
    this.run = run;
    this.feed = new Feed({ address: () => run.address, onData: (data) => this.told(run, data), ...this.lines("run") }).start();
  }

  told(run, snapshot) {
    const { first, changed, fresh } = run.apply(snapshot);
    if (first) this.startRun(run);
    this.announce(run.info.state === "running" || run.info.state !== this.before ? fresh.length : 0);
    this.before = run.info.state;
    const ids = first ? new Set() : new Set(snapshot.rows.map((row) => row.trial));
    this.head.renderRun(run, run.info.state);
    this.summary.render(run);
    this.underWay.render(run);
    if (changed) this.render(ids);
    if (first && this.route.get("trial") !== null) this.table.reveal(this.route.get("trial"));
  }

  startRun(run) {
    show(document.getElementById("waiting"), false);
    show(this.runBox, true);
    nameFiles(run.info.name);
    this.allRows.href = `api/runs/${encodeURIComponent(run.key)}/trials.csv`;
    setText(this.title, { audit: "All attacks", study: "All measurements" }[run.info.kind] ?? "All trials");
    setText(this.tradeoff.chart.title, "Trade-off");
  }

  /** Speaks of finished trials now and then, not of each. */
  announce(fresh) {
    this.unspoken += fresh;
    if (!this.unspoken || Date.now() - this.spokenAt < SPOKEN_EVERY) return;
    const { planned } = this.run.info;
    const of = typeof planned === "number" ? ` of ${planned}` : "";
    this.say(`${count(this.unspoken, "more trial")} finished, ${this.run.ordered.length}${of}.`);
    this.unspoken = 0;
    this.spokenAt = Date.now();
  }

  render(changed = new Set()) {
    const { run } = this;
    this.rows = this.filters.apply(run);
    const selected = ["trial", "with"].map((key) => this.route.get(key)).filter((one) => one !== null);
    this.tradeoff.render(run, this.rows, { selected });
    this.renderTable();
    this.panel.render(run, { changed });
    // What stands below comes after what is looked at first.
    clearTimeout(this.later);
    this.later = setTimeout(() => {
      if (this.run !== run) return;
      this.hypervolume.render(run);
      this.best.render(run);
    });
  }

  renderTable() {
    if (!this.run?.info || !this.rows) return;
    const { run } = this;
    const chosen = this.route.get("trial");
    this.table.render(run, this.rows, (row) => [
      run.front.has(row.trial) && !run.audit && "front", row.trial === run.info.best_feasible && run.info.constraints.length && "best",
      row.trial === run.info.nearest && run.info.best_feasible === null && "nearest", row.status !== "succeeded" && "failed",
      row.trial === chosen && "chosen",
    ].filter(Boolean));
  }
}

new App();
