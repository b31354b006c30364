/** What a run comes to so far: its facts, cards with the best of it, notices. */

import { fill, h, setText, show } from "./dom.js";
import { count, duration, full, inText, plain, roughly, short, whole } from "./numbers.js";

const MOST_NOTICES = 3;
const MOST_ATTACKS = 4;

export class Summary {
  constructor({ open }) {
    this.open = open;
    this.facts = h("dl", { class: "facts" });
    this.notices = h("div", { class: "notices" });
    this.cards = h("div", { class: "cards" });
    this.made = new Map();
    this.element = h("section", { class: "summary", "aria-label": "Summary" }, this.notices, this.cards, this.facts);
  }

  render(run) {
    this.run = run;
    this.used = [];
    if (!run.audit) this.progressCard();
    if (run.audit) this.attackCards();
    else this.bestCards();
    fill(this.cards, this.used);
    this.renderFacts();
    this.renderNotices();
  }

  /** A card: a caption, a value with its whole number on hover, a trial to open, a line more. */
  card(key, { what, value, title = null, trial = null, more = "" }) {
    if (!this.made.has(key)) this.made.set(key, makeCard((name) => this.open(name)));
    const card = this.made.get(key);
    setText(card.what, what);
    setText(card.value, value);
    card.value.title = title ?? "";
    card.trial = trial;
    show(card.link, trial !== null);
    setText(card.link, trial === null ? "" : plain(trial, 24));
    setText(card.more, more);
    this.used.push(card.element);
    return card;
  }

  progressCard() {
    const { info, ordered } = this.run;
    const planned = info.planned;
    const ended = ordered.length;
    const value = typeof planned === "number" ? `${whole(ended)} of ${whole(planned)}` : whole(ended);
    const left = info.state !== "running" ? null : typeof info.seconds_left === "number" ? `${roughly(info.seconds_left)} left` : "time left not known yet";
    const failed = ordered.filter((row) => row.status === "failed").length;
    const parts = [left, typeof info.elapsed === "number" && `${duration(info.elapsed)} so far`, failed > 0 && `${failed} failed`];
    const words = info.state === "running" ? parts : parts.map((one) => one && one.replace(" so far", " in all"));
    const what = this.run.study ? "Measurements finished" : "Trials finished";
    const card = this.card("progress", { what, value, more: words.filter(Boolean).join(", ") });
    if (!card.bar) {
      card.bar = h("progress", { "aria-label": what });
      card.value.after(card.bar);
    }
    card.bar.max = typeof planned === "number" && planned > 0 ? planned : Math.max(ended, 1);
    card.bar.value = ended;
    show(card.bar, typeof planned === "number");
  }

  bestCards() {
    const { run } = this;
    const { x, y, constraints } = run.info;
    for (const name of [x, y]) {
      const row = run.best(name);
      const better = run.better(name);
      if (!better || !run.metrics.has(name)) continue;
      this.card(`best ${name}`, {
        what: `${better === "low" ? "Lowest" : "Best"} ${inText(run.title(name))}`, ...this.valueOf(row, name),
        more: row ? this.also(row, name === x ? y : x, name) : "none yet",
      });
    }
    if (constraints.length) this.feasibleCard();
    if (!run.study) this.frontCard();
  }

  valueOf(row, name) {
    const value = row ? this.run.value(row, name) : null;
    return { value: short(value), title: full(value), trial: row?.trial ?? null };
  }

  also(row, other, own) {
    const { low, high } = this.run.interval(row, own);
    const range = low === null ? "" : `${short(low)} to ${short(high)}; `;
    const value = this.run.value(row, other);
    return value === null ? range : `${range}${inText(this.run.title(other))} ${short(value)}`;
  }

  feasibleCard() {
    const { info, rows } = this.run;
    const best = rows.get(info.best_feasible) ?? null;
    const what = "Best that keeps the constraints";
    const asked = info.constraints.map((one) => one.text).join(", ");
    if (best) {
      const all = this.run.ordered.filter((row) => row.feasible === true).length;
      const more = `${this.also(best, info.y, info.x)}; ${count(all, "trial")} keep ${asked}`.replace("1 trial keep", "1 trial keeps");
      this.card("feasible", { what, ...this.valueOf(best, info.x), more });
      return;
    }
    const nearest = rows.get(info.nearest) ?? null;
    const more = nearest ? `none keeps ${asked}; this one is nearest, ${short(nearest.violation)} off` : `asked for: ${asked}`;
    this.card("feasible", { what, value: "none yet", trial: nearest?.trial ?? null, more });
  }

  frontCard() {
    const { front, hypervolume } = this.run.info;
    const last = hypervolume?.at(-1)?.[1];
    const more = typeof last === "number" ? `hypervolume ${short(last)}` : "";
    this.card("front", { what: "On the front", value: count(front.length, "trial"), title: full(last), more });
  }

  /** An audit: a card for each of the attacks that learn most. */
  attackCards() {
    const { run } = this;
    const name = run.metrics.has(run.info.y) ? run.info.y : "mia_auc";
    const known = run.ordered.filter((row) => run.value(row, name) !== null)
      .sort((one, two) => run.value(two, name) - run.value(one, name));
    for (const [place, row] of known.slice(0, MOST_ATTACKS).entries()) {
      const { low, high } = run.interval(row, name);
      const more = low === null ? "" : `95% interval ${short(low)} to ${short(high)}`;
      const title = inText(run.title(name));
      this.card(`attack ${place}`, { what: place ? title.replace(/^a/, "A") : `Highest ${title}`, ...this.valueOf(row, name), more });
    }
  }

  renderFacts() {
    const { info, noun } = this.run;
    const pattern = info.pattern && `${info.pattern.name}${info.pattern.budget ? `, ${count(info.pattern.budget, "edge")} fixed` : ""}`;
    const parts = [["Verdict", info.verdict], ["Epsilon", info.epsilon], ["Strategy", info.strategy], ["Data set", info.dataset], ["Attacks", this.run.audit ? null : (info.attacks ?? []).join(", ")],
      ["Pattern", pattern], ["Constraints", info.constraints.map((one) => one.text).join(", ")],
      ["Side by side", info.concurrency > 1 ? count(info.concurrency, noun) : null]].filter(([, value]) => value);
    const signature = JSON.stringify(parts);
    if (signature === this.factsSignature) return;
    this.factsSignature = signature;
    fill(this.facts, parts.map(([what, value]) => h("div", {}, h("dt", {}, what), h("dd", {}, plain(value, 300)))));
  }

  renderNotices() {
    const texts = this.run.info.notices ?? [];
    const signature = JSON.stringify(texts);
    if (signature === this.noticesSignature) return;
    this.noticesSignature = signature;
    const made = texts.map((text) => h("p", { class: "notice" }, plain(text, 600)));
    const rest = made.slice(MOST_NOTICES);
    fill(this.notices, made.slice(0, MOST_NOTICES),
      rest.length > 0 && h("details", {}, h("summary", {}, `${count(rest.length, "notice")} more`), rest));
  }
}

function makeCard(open) {
  const card = { what: h("div", { class: "what" }), value: h("div", { class: "value" }), more: h("div", { class: "more" }), trial: null };
  card.link = h("button", { type: "button", class: "link", onclick: () => open(card.trial) });
  card.element = h("div", { class: "card" }, card.what, card.value, card.link, card.more);
  return card;
}
