/** A run as the server has told it so far: rows by trial, and what can be computed of them. */

export class Run {
  constructor(key) {
    this.key = key;
    this.cursor = null;
    this.info = null;
    this.rows = new Map();
    this.ordered = [];
    this.metrics = new Map();
    this.shownOf = null;
  }

  /** Where to ask for what has changed. */
  get address() {
    const after = this.cursor === null ? "" : `?after=${encodeURIComponent(this.cursor)}`;
    return `api/runs/${encodeURIComponent(this.key)}${after}`;
  }

  get audit() {
    return this.info.kind === "audit";
  }

  get study() {
    return this.info.kind === "study";
  }

  /** What a row is called in this kind of run. */
  get noun() {
    return { audit: "attack", study: "measurement" }[this.info.kind] ?? "trial";
  }

  /**
   * Takes an answer in.
   *
   * Returns the rows that are new or other than before, and whether anything that charts and table show has changed.
   */
  apply(snapshot) {
    if (snapshot.reset) this.rows.clear();
    const first = this.info === null;
    const fresh = snapshot.rows.filter((row) => !this.rows.has(row.trial));
    for (const row of snapshot.rows) this.rows.set(row.trial, row);
    const before = this.info;
    this.cursor = snapshot.cursor;
    this.info = snapshot;
    this.metrics = new Map(snapshot.metrics.map((metric) => [metric.name, metric]));
    const changed = first || snapshot.reset || snapshot.rows.length > 0
      || String(before.front) !== String(snapshot.front) || before.best_feasible !== snapshot.best_feasible;
    if (changed) this.ordered = [...this.rows.values()].sort(bySequence);
    this.front = new Set(snapshot.front);
    return { first, changed, fresh: first ? [] : fresh };
  }

  title(name) {
    return this.metrics.get(name)?.title ?? name;
  }

  better(name) {
    return this.metrics.get(name)?.better ?? null;
  }

  /** A metric of a row, or null. */
  value(row, name) {
    const value = row.metrics[name];
    return typeof value === "number" ? value : null;
  }

  /** The ends of a metric's interval, or nulls. */
  interval(row, name) {
    const metric = this.metrics.get(name);
    const ends = [metric?.low, metric?.high].map((end) => (end ? this.value(row, end) : null));
    return ends.includes(null) ? { low: null, high: null } : { low: ends[0], high: ends[1] };
  }

  /** Metrics that may stand on an axis or in a column: those that are not ends of others' intervals. */
  get shown() {
    if (this.shownOf !== this.ordered) {
      this.shownOf = this.ordered;
      this.shownOnes = this.lookForShown();
    }
    return this.shownOnes;
  }

  lookForShown() {
    const ends = new Set(this.info.metrics.flatMap((metric) => [metric.low, metric.high]));
    const measured = new Set(this.ordered.flatMap((row) => Object.keys(row.metrics)));
    return this.info.metrics.filter((metric) => !ends.has(metric.name) && measured.has(metric.name));
  }

  /** The row with the best value of a metric that has a better end, or null. */
  best(name) {
    const sign = this.better(name) === "low" ? -1 : 1;
    const known = this.ordered.filter((row) => row.status === "succeeded" && this.value(row, name) !== null);
    return known.reduce((best, row) =>
      (best === null || sign * (this.value(row, name) - this.value(best, name)) > 0 ? row : best), null);
  }
}

/**
 * The rows that no other row beats in both metrics, in the order of the first; empty if a metric has no better end.
 *
 * Equal values stay: neither beats the other.
 */
export function frontOf(run, rows, x, y) {
  const signs = [x, y].map((name) => ({ high: 1, low: -1 })[run.better(name)] ?? 0);
  if (signs.includes(0)) return [];
  const points = rows
    .filter((row) => row.status === "succeeded" && run.value(row, x) !== null && run.value(row, y) !== null)
    .map((row) => ({ row, x: signs[0] * run.value(row, x), y: signs[1] * run.value(row, y) }))
    .sort((one, two) => two.x - one.x || two.y - one.y);
  const front = [];
  let highest = -Infinity;
  for (const point of points) {
    const equal = front.length && front.at(-1).x === point.x && front.at(-1).y === point.y;
    if (point.y > highest || equal) front.push(point);
    highest = Math.max(highest, point.y);
  }
  return front.map((point) => point.row.trial);
}

function bySequence(one, two) {
  return one.sequence - two.sequence || (one.trial < two.trial ? -1 : 1);
}
