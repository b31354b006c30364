/**
 * Elements made from names, properties and children.
 *
 * Names, errors and class names of a run are whatever somebody wrote: text becomes a text node, never markup, and
 * there is no way in here to set markup or a handler from a text.
 */

const SVG = "http://www.w3.org/2000/svg";

/** An element; `props` are attributes, except `class`, `dataset` and functions `onclick`, `onchange`, ... */
export function h(name, props = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(props)) setProp(element, key, value);
  element.append(...flat(children));
  return element;
}

function setProp(element, key, value) {
  if (value === null || value === undefined || value === false) return;
  if (key.startsWith("on")) {
    if (typeof value !== "function") throw new TypeError(`${key} is no function`);
    element.addEventListener(key.slice(2), value);
  } else if (key === "dataset") Object.assign(element.dataset, value);
  else if (key === "class") element.className = value;
  else if (key === "value" || key === "checked" || key === "selected") element[key] = value;
  else element.setAttribute(key, value === true ? "" : String(value));
}

function flat(children) {
  return children.flat(Infinity).filter((one) => one !== null && one !== undefined && one !== false);
}

/** An icon of a list of SVG paths; hidden from screen readers, as what it stands in has a label. */
export function icon(paths, size = 20) {
  const svg = document.createElementNS(SVG, "svg");
  const look = { viewBox: "0 0 24 24", width: size, height: size, fill: "none", stroke: "currentColor" };
  Object.assign(look, { "stroke-width": 1.8, "stroke-linecap": "round", "stroke-linejoin": "round" });
  for (const [key, value] of Object.entries({ ...look, "aria-hidden": "true", focusable: "false" })) {
    svg.setAttribute(key, value);
  }
  for (const d of paths) {
    const path = document.createElementNS(SVG, "path");
    path.setAttribute("d", d);
    svg.append(path);
  }
  return svg;
}

/**
 * Makes these the children of an element, and touches none that is in its place already: what stays keeps its focus,
 * the text that is selected in it, and its scroll.
 */
export function fill(element, ...children) {
  const wanted = flat(children).map((one) => (one instanceof Node ? one : document.createTextNode(String(one))));
  const kept = new Set(wanted);
  for (const node of [...element.childNodes]) if (!kept.has(node)) node.remove();
  wanted.forEach((node, at) => {
    const there = element.childNodes[at] ?? null;
    if (there !== node) element.insertBefore(node, there);
  });
}

/** Sets a text only where it differs: what is selected stays selected, and nothing is read aloud twice. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Shows or hides an element. */
export function show(element, visible) {
  element.hidden = !visible;
}

/**
 * An address that a link may have: one of this server's own, or null.
 *
 * `javascript:` and `data:` addresses and other servers' are not among them.
 */
export function ownLink(address) {
  if (typeof address !== "string" || !address) return null;
  try {
    const url = new URL(address, document.baseURI);
    return url.origin === location.origin && /^https?:$/.test(url.protocol) ? url.href : null;
  } catch {
    return null;
  }
}

/** A `select` with a label; options are `[value, text]` or `[value, text, title]`. */
export function labelledSelect({ label, options, value, onchange, name }) {
  const select = h("select", { name, onchange: (event) => onchange(event.target.value) });
  setOptions(select, options, value);
  return { field: h("label", { class: "field" }, h("span", {}, label), select), select };
}

/** Gives a `select` its options; one that is open or focused is left alone while they are the same. */
export function setOptions(select, options, value) {
  const same = select.options.length === options.length
    && options.every(([key, text], at) => select.options[at].value === key && select.options[at].text === text);
  if (!same) select.replaceChildren(...options.map(([key, text, title]) => h("option", { value: key, title }, text)));
  if (select.value !== value) select.value = value;
}
