/** Light or dark: the system's, until somebody switches; then what was chosen, remembered by this browser. */

const KEY = "nni-privacy-theme";
const SYSTEM = matchMedia("(prefers-color-scheme: dark)");

export const REDUCED = matchMedia("(prefers-reduced-motion: reduce)");

export class Theme extends EventTarget {
  constructor() {
    super();
    this.chosen = remembered();
    SYSTEM.addEventListener("change", () => this.apply());
    this.apply();
  }

  get dark() {
    return this.chosen === null ? SYSTEM.matches : this.chosen === "dark";
  }

  toggle() {
    this.chosen = this.dark ? "light" : "dark";
    try {
      localStorage.setItem(KEY, this.chosen);
    } catch {
      // A browser that keeps nothing: it holds until the page is closed.
    }
    this.apply();
  }

  apply() {
    document.documentElement.dataset.theme = this.dark ? "dark" : "light";
    this.dispatchEvent(new Event("change"));
  }
}

function remembered() {
  try {
    const value = localStorage.getItem(KEY);
    return value === "dark" || value === "light" ? value : null;
  } catch {
    return null;
  }
}
