/** The bar on the left and the header, as NNI's own pages have them. */

import { fill, h, icon, setOptions, setText, show } from "./dom.js";
import { DARK, LIGHT, OVERVIEW, PRIVACY, REPORT, RUNS, TRIALS } from "./icons.js";
import { plain } from "./numbers.js";
import { labelsOf } from "./runs.js";

export class Head {
  constructor({ bar, head, route, theme }) {
    Object.assign(this, { bar, route, theme, labels: new Map(), run: null });
    this.name = h("span", { class: "run-name" });
    this.title = h("h1", {}, "Privacy", this.name);
    this.state = h("span", { class: "chip", hidden: true });
    const onchange = (event) => route.open(event.target.value === "" ? null : event.target.value);
    this.runs = h("select", { name: "run", onchange });
    this.runsField = h("label", { class: "field inline", hidden: true }, h("span", {}, "Run"), this.runs);
    this.report = h("a", { class: "tool", hidden: true, target: "_blank", rel: "noopener" }, icon(REPORT), h("span", {}, "Report"));
    this.switch = h("button", { type: "button", class: "tool icon-only", onclick: () => theme.toggle() });
    head.append(this.title, this.state, h("div", { class: "head-tools" }, this.runsField, this.report, this.switch));
    theme.addEventListener("change", () => this.renderTheme());
    this.renderTheme();
  }

  renderTheme() {
    const label = this.theme.dark ? "Switch to light" : "Switch to dark";
    fill(this.switch, icon(this.theme.dark ? LIGHT : DARK));
    this.switch.setAttribute("aria-label", label);
    this.switch.title = label;
  }

  /** What does not depend on a run: links of the bar, the choice of runs. */
  renderIndex(index, key) {
    const several = index.runs.length > 1;
    show(this.runsField, several);
    this.labels = labelsOf(index.runs);
    setOptions(this.runs, [["", "All runs"], ...index.runs.map(({ key: one }) => {
      const { text, title } = this.labels.get(one);
      return [one, text, title];
    })], key ?? "");
    this.renderName();
    const links = index.manager
      ? [["../oview", "Overview", OVERVIEW, false], ["../detail", "Trials detail", TRIALS, false], ["#", "Privacy", PRIVACY, true]]
      : [["#", "Runs", RUNS, key === null && several], ["#", "Privacy", PRIVACY, true]];
    const signature = JSON.stringify([links, key, several]);
    if (signature === this.signature) return;
    this.signature = signature;
    const here = (title) => ({ Runs: several, Privacy: index.manager || key !== null })[title] ?? true;
    const shown = links.filter(([, title]) => here(title));
    fill(this.bar, shown.map(([href, title, paths, current]) => h("a", {
      href: current && key !== null ? `#run=${encodeURIComponent(key)}` : href, title, "aria-label": title,
      "aria-current": current ? "page" : null, class: current ? "current" : null,
      onclick: title === "Runs" ? (event) => { event.preventDefault(); this.route.open(null); } : null,
    }, icon(paths, 22))));
  }

  /** The name of the run in the heading, told apart from its namesakes. */
  renderName() {
    const label = this.run === null ? null : this.labels.get(this.run.key) ?? { text: plain(this.run.info.name, 80), title: "" };
    setText(this.name, label?.text ?? "");
    this.name.title = label?.title ?? "";
    document.title = label ? `${label.text} - Privacy` : "Privacy";
  }

  renderRun(run, shownState) {
    this.run = run;
    this.renderName();
    show(this.state, run !== null);
    const has = run !== null && run.info.report === true;
    show(this.report, has);
    if (run === null) return;
    this.report.href = `api/runs/${encodeURIComponent(run.key)}/report`;
    setText(this.state, shownState);
    this.state.className = `chip ${shownState.replace(/\W/g, "-")}`;
  }
}
