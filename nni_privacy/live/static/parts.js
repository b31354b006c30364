/** Parts that one trial's panel and two trials side by side have in common. */

import { h } from "./dom.js";
import { count, number, plain, short } from "./numbers.js";

const MOST_CLASSES = 40;

/**
 * Drawings of cells, as pictures: a drawing is an SVG document of its own in there, so that its styles stay its own
 * and nothing in it runs.
 */
export function cellFigures(cells) {
  return h("div", { class: "cells" }, cells.map((cell) => h("figure", { class: "cell" },
    h("figcaption", {}, plain(cell.name, 40)),
    h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": plain(cell.name, 40) }, h("img", { src: `data:image/svg+xml;charset=utf-8,${encodeURIComponent(cell.svg)}`, alt: plain(cell.label ?? cell.name, 400) })))));
}

/** Least values of the axes of ROC curves: what so many records can resolve. */
export function rocAxes(curves) {
  const least = (key) => Math.min(...curves.map((curve) => (curve[key] > 0 ? 1 / curve[key] : 0.01)), 0.1);
  return { floor: least("non_members"), bottom: least("members") };
}

export function showRoc(chart, curves) {
  const build = (dark) => window.privacyCharts.rocOption({ curves, ...rocAxes(curves), dark });
  const names = curves.map((curve) => plain(curve.attack, 60)).join(", ");
  chart.show(build, { label: `ROC curves on logarithmic axes: ${names}.`, signature: [names] });
  chart.say("How many members an attacker finds (up) at how many false alarms (across). Above the dashed line is more than guessing.");
}

export function showClasses(chart, classes, title) {
  const known = classes.filter((one) => typeof one.auc === "number").sort((one, two) => two.auc - one.auc);
  const rows = known.slice(0, MOST_CLASSES).map((one) => ({ name: plain(one.name ?? one.label, 40), auc: one.auc, low: one.low, high: one.high,
    lines: [`${count(one.members, "member")}, ${count(one.non_members, "non-member")}`] }));
  chart.show((dark) => window.privacyCharts.barsOption({ rows, title, dark }),
    { label: `${title} by class; the table below has the numbers.`, signature: [rows] });
  if (known.length > MOST_CLASSES) chart.say(`The ${MOST_CLASSES} most exposed of ${known.length} classes.`);
}

export function classesTable(classes) {
  const head = ["Class", "Members", "Non-members", "AUC"];
  const rows = classes.map((one) => [plain(one.name ?? one.label, 60), short(one.members), short(one.non_members),
    number(one.auc, { low: one.low, high: one.high })]);
  return drawer(`Numbers of ${count(classes.length, "class", "classes")}`, table(head, rows, "Leakage by class"));
}

/** A plain table: first column text, the others numbers. */
export function table(head, rows, caption) {
  const kind = (at) => (at ? "numeric" : "text");
  return h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption },
    h("table", {}, h("caption", { class: "visually-hidden" }, caption),
      h("thead", {}, h("tr", {}, head.map((text, at) => h("th", { scope: "col", class: kind(at) }, text)))),
      h("tbody", {}, rows.map((row) => h("tr", {}, row.map((cell, at) =>
        (at ? h("td", { class: "numeric" }, cell) : h("th", { scope: "row", class: "text" }, cell))))))));
}

export function drawer(title, ...content) {
  return h("details", {}, h("summary", {}, title), content);
}

export function textBlock(title, text, { open = false } = {}) {
  return h("details", { open }, h("summary", {}, title),
    h("pre", { tabindex: "0", role: "region", "aria-label": title }, text));
}
