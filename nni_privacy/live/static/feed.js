/**
 * Polling: asks again and again, less often while nobody looks, and goes on when a server that was gone is back.
 *
 * Events are functions: `onData(json)`, `onLost(message)` once when it stops answering, `onBack()` once when it does.
 */

const VISIBLE = 2000;
const HIDDEN = 15000;
const LOST = [2000, 2000, 4000, 8000];
const PATIENCE = 15000;

const SAID = {
  401: "The server wants its token: open the address that the command printed.",
  403: "The server refuses: open the address that the command printed.",
  404: "The server does not know this run or trial (any more).",
};

export class Feed {
  constructor({ address, onData, onLost, onBack, every = VISIBLE }) {
    Object.assign(this, { address, onData, onLost, onBack, every });
    this.failures = 0;
    this.stopped = false;
    this.told = false;
    this.timer = null;
    this.busy = false;
    this.awake = () => { if (!document.hidden) this.now(); };
    document.addEventListener("visibilitychange", this.awake);
    addEventListener("online", this.awake);
  }

  start() {
    this.now();
    return this;
  }

  stop() {
    this.stopped = true;
    clearTimeout(this.timer);
    this.abort?.abort();
    document.removeEventListener("visibilitychange", this.awake);
    removeEventListener("online", this.awake);
  }

  /** Asks now, and then again in a while. */
  async now() {
    if (this.busy || this.stopped) return;
    clearTimeout(this.timer);
    this.busy = true;
    const data = await this.heard();
    this.busy = false;
    if (this.stopped) return;
    this.timer = setTimeout(() => this.now(), this.pause());
    if (data === null) return;
    try {
      this.onData(data);
    } catch (error) {
      console.error(error); // a fault of this page's, not the server's
    }
  }

  /** What the server says; null, and told, if it says nothing of use. */
  async heard() {
    try {
      this.abort = new AbortController();
      const data = await getJson(this.address(), this.abort);
      if (this.told && !this.stopped) this.onBack();
      this.failures = 0;
      this.told = false;
      return data;
    } catch (error) {
      this.failures += 1;
      // One answer that is late is nothing to speak of.
      if (!this.stopped && !this.told && (this.failures > 1 || error instanceof Refused)) {
        this.told = true;
        this.onLost(error.message);
      }
      return null;
    }
  }

  pause() {
    if (this.failures) return LOST[Math.min(this.failures, LOST.length) - 1];
    return document.hidden ? HIDDEN : this.every;
  }
}

class Refused extends Error {}
class Unreachable extends Error {}

/** The JSON at an address of this server; errors have a text for people. */
export async function getJson(address, abort = new AbortController()) {
  const timer = setTimeout(() => abort.abort(), PATIENCE);
  let answer;
  try {
    answer = await fetch(address, { cache: "no-store", credentials: "same-origin", signal: abort.signal });
    if (answer.ok) return await answer.json();
  } catch {
    throw new Unreachable("The server does not answer. The page goes on when it is back.");
  } finally {
    clearTimeout(timer);
  }
  throw new Refused(SAID[answer.status] ?? `The server answers with an error: ${await reasonOf(answer)}`);
}

async function reasonOf(answer) {
  const text = (await answer.text()).slice(0, 400);
  try {
    return String(JSON.parse(text).error);
  } catch {
    return text || String(answer.status);
  }
}
