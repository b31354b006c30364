/**
 * What the address says after `#`: run, trial, a second trial to compare with, axes, filters, order.
 *
 * `#run=0&trial=ID&with=OTHER&x=accuracy&y=mia_auc&status=failed&f.dataset=digits`: it can be sent to somebody, and
 * the browser's own "back" closes a trial that was opened.
 */

export class Route extends EventTarget {
  constructor() {
    super();
    this.values = read();
    addEventListener("hashchange", () => this.changed());
    addEventListener("popstate", () => this.changed());
  }

  changed() {
    const values = read();
    if (write(values) === write(this.values)) return;
    this.values = values;
    this.dispatchEvent(new Event("change"));
  }

  get(key) {
    return this.values.get(key) ?? null;
  }

  /** Names and values that begin with a prefix, without it. */
  under(prefix) {
    const found = [...this.values].filter(([key]) => key.startsWith(prefix));
    return new Map(found.map(([key, value]) => [key.slice(prefix.length), value]));
  }

  /** Sets values (null takes one away); `step` makes it a step that "back" undoes. */
  set(values, { step = false } = {}) {
    const changed = new Map(this.values);
    for (const [key, value] of Object.entries(values)) {
      if (value === null || value === undefined || value === "") changed.delete(key);
      else changed.set(key, String(value));
    }
    this.go(changed, { step });
  }

  /** Leaves everything but the run: another one has other trials. */
  open(run) {
    this.go(new Map(run === null ? [] : [["run", run]]), { step: true });
  }

  go(values, { step }) {
    const hash = write(values);
    if (hash === write(this.values)) return;
    this.values = values;
    const address = hash ? `#${hash}` : location.pathname + location.search;
    if (step) history.pushState(null, "", address);
    else history.replaceState(null, "", address);
    this.dispatchEvent(new Event("change"));
  }

  /** The address of a trial of this run, for a link that can be copied. */
  linkTo(trial) {
    return `#${write(new Map([["run", this.get("run") ?? "0"], ["trial", trial]]))}`;
  }
}

function read() {
  return new Map(new URLSearchParams(location.hash.slice(1)));
}

function write(values) {
  return new URLSearchParams([...values]).toString();
}
