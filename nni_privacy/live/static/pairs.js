/** Up to two trials that somebody has marked to see them side by side; the third takes the place of the first. */

import { h, setText } from "./dom.js";
import { plain } from "./numbers.js";

export class Pairs extends EventTarget {
  constructor(route) {
    super();
    this.route = route;
    this.marked = [];
    this.text = h("span");
    this.button = h("button", { type: "button", class: "primary", onclick: () => this.open() }, "Compare");
    const clear = h("button", { type: "button", class: "quiet", onclick: () => this.clear() }, "Clear");
    this.element = h("div", { class: "pairs", hidden: true }, this.text, this.button, clear);
  }

  has(trial) {
    return this.marked.includes(trial);
  }

  toggle(trial) {
    this.marked = this.has(trial) ? this.marked.filter((one) => one !== trial) : [...this.marked, trial].slice(-2);
    this.changed();
  }

  clear() {
    this.marked = [];
    this.changed();
  }

  open() {
    const [trial, other] = this.marked;
    this.route.set({ trial, with: other }, { step: true });
  }

  changed() {
    this.element.hidden = this.marked.length === 0;
    this.button.disabled = this.marked.length < 2;
    const names = this.marked.map((trial) => plain(trial, 24)).join(" and ");
    setText(this.text, this.marked.length === 1 ? `${names} is marked; mark another to compare.` : `${names} are marked.`);
    this.dispatchEvent(new Event("change"));
  }
}
