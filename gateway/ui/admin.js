// What every view of the administrator's shares: it looks again while it is shown, and asks for the key when refused.

import { button, empty, put } from "./dom.js";
import { locked } from "./keys.js";

/** A view that calls `look` at once and then every so often, as long as it is shown and the tab is in front. */
export class Watch {
  constructor(root, look, { every }) {
    Object.assign(this, { root, look, every, timer: 0, shown: false, built: false });
    document.addEventListener("keys", () => this.shown && this.again());
    document.addEventListener("visibilitychange", () => this.shown && !document.hidden && this.again());
  }

  enter() {
    this.shown = true;
    return this.again();
  }

  leave() {
    this.shown = false;
    clearTimeout(this.timer);
  }

  /** Look now, and then again after the usual time. */
  async again() {
    clearTimeout(this.timer);
    const round = (this.round = (this.round ?? 0) + 1);
    try {
      await this.look();
      this.broken = false;
    } catch (error) {
      this.#tell(error);
    }
    if (this.shown && !document.hidden && round === this.round) this.timer = setTimeout(() => this.again(), this.every());
  }

  #tell(error) {
    if (this.broken && !error.locked) return;
    this.broken = true;
    this.built = false;
    put(this.root, error.locked ? locked(error, "admin") : empty("This cannot be shown", error.message, button("Try again", () => this.again())));
    if (error.locked) this.shownLocked();
  }

  shownLocked() {
    clearTimeout(this.timer);
    this.round += 1;
  }
}
