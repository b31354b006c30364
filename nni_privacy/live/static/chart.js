/** A chart with its title, buttons to save it, and a text alternative; drawn anew when the theme changes. */

import { h, setText } from "./dom.js";
import { save, saveAddress } from "./exports.js";

const SIZE = { width: 1000, height: 640 };

export class Chart {
  /** `name` becomes the name of saved files; `level` is that of the heading; `pick(trial)` is called on a click. */
  constructor({ title, name, theme, pick = null, level = 2, kind = "", tall = false, note = null }) {
    Object.assign(this, { name, theme, pick, build: null, signature: null, label: "" });
    this.title = h(`h${level}`, {}, title);
    this.canvas = h("div", { class: tall ? "canvas tall" : "canvas" });
    this.note = h("p", { class: "note" }, note);
    this.note.hidden = note === null;
    this.buttons = ["png", "svg"].map((type) => h("button", { type: "button", class: "quiet",
      "aria-label": `Save ${title} as ${type.toUpperCase()}`, onclick: () => this.save(type) }, type.toUpperCase()));
    this.element = h("section", { class: `panel chart ${kind}` },
      h("div", { class: "panel-head" }, this.title, h("div", { class: "tools" }, this.buttons)),
      h("div", { class: "drawing" }, this.canvas), this.note);
    this.redraw = () => this.draw();
    theme.addEventListener("change", this.redraw);
  }

  /**
   * Shows what `build(dark)` makes: an option of ECharts.
   *
   * Where `signature` is what it was, nothing is drawn: a tooltip that somebody reads stays open.
   */
  show(build, { label, signature }) {
    this.build = build;
    this.label = label;
    const wanted = JSON.stringify(signature);
    if (wanted === this.signature) return;
    this.signature = wanted;
    this.draw();
  }

  say(text) {
    setText(this.note, text ?? "");
    this.note.hidden = !text;
  }

  draw() {
    if (this.build === null || !this.canvas.isConnected) return;
    const pick = this.pick === null ? undefined : (data) => data.trial !== undefined && this.pick(data.trial);
    const look = { label: this.label, pick, renderer: "canvas" };
    this.drawn = window.privacyCharts.draw(this.canvas, this.build(this.theme.dark), look);
  }

  save(type) {
    const option = this.build(this.theme.dark);
    const address = window.privacyCharts.image(option, type, SIZE);
    saveAddress(address, `${save.stem}-${this.name}.${type}`);
  }

  dispose() {
    this.theme.removeEventListener("change", this.redraw);
    this.drawn?.dispose();
    this.build = null;
  }
}
