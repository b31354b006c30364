/** All runs that this page is served for: one row each, to be opened. */

import { fill, h } from "./dom.js";
import { NONE, moment, number, plain } from "./numbers.js";

const WORDS = { running: "running", finished: "finished", stopped: "stopped" };
const KINDS = { search: "search", predicted: "search, predicted", study: "study", audit: "audit" };

export class RunsView {
  constructor() {
    this.body = h("tbody");
    const head = ["Run", "Kind", "State", "Trials", "Best accuracy", "Lowest AUC", "Changed"];
    const numeric = new Set([3, 4, 5]);
    this.element = h("section", { class: "panel runs", hidden: true }, h("h2", {}, "Runs"),
      h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Runs" }, h("table", {},
        h("caption", { class: "visually-hidden" }, "All runs"),
        h("thead", {}, h("tr", {}, head.map((text, at) =>
          h("th", { scope: "col", class: numeric.has(at) ? "numeric" : "text" }, text)))), this.body)));
  }

  render(index) {
    const signature = JSON.stringify(index.runs);
    if (signature === this.signature) return;
    this.signature = signature;
    const focused = this.body.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
    fill(this.body, index.runs.map(runRow));
    if (focused) [...this.body.querySelectorAll("a")].find((one) => one.getAttribute("href") === focused)?.focus();
  }
}

function runRow(run) {
  const trials = typeof run.planned === "number" ? `${run.trials} of ${run.planned}` : String(run.trials);
  return h("tr", {},
    h("th", { scope: "row", class: "text" }, h("a", { href: `#run=${encodeURIComponent(run.key)}` }, plain(run.name, 60)),
      h("div", { class: "soft" }, plain(run.folder ?? "", 120)), run.error && h("div", { class: "no" }, plain(run.error, 300))),
    h("td", { class: "text" }, KINDS[run.kind] ?? plain(run.kind, 20)), h("td", { class: "text" }, stateChip(run.state)),
    h("td", { class: "numeric" }, trials), h("td", { class: "numeric" }, number(run.best_accuracy)),
    h("td", { class: "numeric" }, number(run.lowest_auc)), h("td", { class: "text" }, run.changed ? moment(run.changed) : NONE));
}

/** What each run is called where it stands alone, by key: its name; and as much of its folder as tells namesakes apart. */
export function labelsOf(runs) {
  return new Map(runs.map((run) => {
    const folder = String(run.folder ?? "");
    const others = runs.filter((one) => one !== run && one.name === run.name).map((one) => String(one.folder ?? ""));
    const text = others.length ? `${plain(run.name, 40)} (${plain(tailOf(folder, others), 40)})` : plain(run.name, 80);
    return [run.key, { text, title: plain(folder, 400) }];
  }));
}

/** The last parts of a folder, as many as no other one has, and at least one. */
function tailOf(folder, others) {
  const parts = folder.split("/").filter(Boolean);
  const tail = (of, many) => of.split("/").filter(Boolean).slice(-many).join("/");
  const many = parts.findIndex((_, at) => others.every((other) => tail(other, at + 1) !== tail(folder, at + 1))) + 1;
  return many ? tail(folder, many) : folder;
}

export function stateChip(state) {
  return h("span", { class: `chip ${WORDS[state] ?? ""}` }, WORDS[state] ?? plain(state, 20));
}
