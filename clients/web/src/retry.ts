/** When a request is tried again, and how long to wait before. */

import { BrinkError } from "./error.js";

/** Longest wait that a server may ask for, in milliseconds; beyond it is taken for this. */
const MAX_ASKED_MS = 30_000;
/** Waits are drawn from zero up to this, doubled with each try ... */
const FIRST_MS = 500;
/** ... and up to this at most. */
const MAX_MS = 8_000;

/** Time and chance as the client sees them; tests put their own in place. */
export interface Timers {
  /** Calls after so many milliseconds; the returned function cancels that. */
  after(ms: number, call: () => void): () => void;
  /** Milliseconds since the Unix epoch. */
  now(): number;
  /** At least 0, below 1. */
  random(): number;
}

export const SYSTEM_TIMERS: Timers = {
  after(ms, call) {
    const timer = setTimeout(call, ms);
    return () => clearTimeout(timer);
  },
  now: () => Date.now(),
  random: () => Math.random(),
};

export interface Retries {
  timers: Timers;
  /** Most tries after the first one. */
  max: number;
}

/** Does it until it succeeds, or fails in a way that another try does not mend. */
export async function withRetries<T>(retries: Retries, signal: AbortSignal | undefined, attempt: () => Promise<T>): Promise<T> {
  for (let failures = 0; ; failures++) {
    signal?.throwIfAborted();
    try {
      return await attempt();
    } catch (error) {
      signal?.throwIfAborted();
      if (failures >= retries.max || !isRetryable(error)) throw error;
      await sleep(retries.timers, waitBefore(failures, error.retryAfterMs, retries.timers), signal);
    }
  }
}

export function isRetryable(error: unknown): error is BrinkError {
  return error instanceof BrinkError && error.retryable;
}

/**
 * How long to wait after so many failures before this one: what the server asked for, or full jitter.
 * Without the jitter all clients of a server that was away would come back at once.
 */
export function waitBefore(failures: number, asked: number | undefined, timers: Timers): number {
  if (asked !== undefined) return Math.min(asked, MAX_ASKED_MS);
  return timers.random() * Math.min(MAX_MS, FIRST_MS * 2 ** failures);
}

/** Ends after `ms`, or at once with the signal's reason. */
export function sleep(timers: Timers, ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason);
    const aborted = () => {
      cancel();
      reject(signal?.reason);
    };
    const cancel = timers.after(ms, () => {
      signal?.removeEventListener("abort", aborted);
      resolve();
    });
    signal?.addEventListener("abort", aborted, { once: true });
  });
}

/** What `retry-after-ms` or `retry-after` (seconds, or a date) asks for, in milliseconds. */
export function retryAfterMs(headers: Headers, now: number): number | undefined {
  const precise = headers.get("retry-after-ms");
  if (precise !== null && isNumber(precise)) return Number(precise);
  const coarse = headers.get("retry-after");
  if (coarse === null) return undefined;
  if (isNumber(coarse)) return Number(coarse) * 1000;
  const date = Date.parse(coarse);
  return Number.isNaN(date) ? undefined : Math.max(0, date - now);
}

function isNumber(value: string): boolean {
  return /^\d{1,12}(\.\d+)?$/.test(value.trim());
}

/** How long nothing may be heard, and what is thrown then. */
export interface Silence {
  ms: number;
  error: () => BrinkError;
}

/**
 * A signal that follows the caller's, and fires by itself when nothing was fed for too long.
 *
 * Whoever makes one stops it, or the caller's signal keeps it alive.
 */
export class Watchdog {
  readonly #controller = new AbortController();
  readonly #follow = () => this.#abort(this.outer?.reason);
  #cancel: () => void = () => {};

  constructor(
    private readonly timers: Timers,
    private silence: Silence,
    private readonly outer: AbortSignal | undefined,
  ) {
    outer?.addEventListener("abort", this.#follow, { once: true });
    if (outer?.aborted) this.#follow();
    else this.feed();
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** There was a sign of life: the time begins anew, with another limit if one is given. */
  feed(silence = this.silence): void {
    this.silence = silence;
    this.#cancel();
    if (!this.signal.aborted) this.#cancel = this.timers.after(silence.ms, () => this.#abort(silence.error()));
  }

  stop(): void {
    this.#cancel();
    this.outer?.removeEventListener("abort", this.#follow);
  }

  #abort(reason: unknown): void {
    this.stop();
    this.#controller.abort(reason);
  }
}
