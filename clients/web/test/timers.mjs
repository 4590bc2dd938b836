// Time and chance for tests: short waits end at once and are written down; limits on silence wait to be called.

/** The client's limits on silence: an opening socket, a stream, an answer. All else are waits before another try. */
const LIMITS = new Set([15_000, 45_000, 310_000]);

export class TestTimers {
  /** Waits before another try, in milliseconds. */
  waits = [];
  /** Limits on silence that run now: `{ ms, call }`. */
  limits = new Set();
  /** What `random` gives. */
  chance = 0.5;
  time = 1_700_000_000_000;

  after(ms, call) {
    if (LIMITS.has(ms)) {
      const limit = { ms, call };
      this.limits.add(limit);
      return () => this.limits.delete(limit);
    }
    this.waits.push(ms);
    let cancelled = false;
    queueMicrotask(() => cancelled || call());
    return () => {
      cancelled = true;
    };
  }

  now() {
    return this.time;
  }

  random() {
    return this.chance;
  }

  /** Lets the limit of `ms` milliseconds pass. */
  pass(ms) {
    for (const limit of this.limits) {
      if (limit.ms !== ms) continue;
      this.limits.delete(limit);
      limit.call();
      return;
    }
    throw new Error(`no limit of ${ms} ms runs, only of ${[...this.limits].map((limit) => limit.ms)}`);
  }
}
