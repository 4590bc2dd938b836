/** One request over `fetch`: where it goes, how long it may take, and how its errors are told. */

import { BrinkError, connectionFailed, ofAnswer, unusable } from "./error.js";
import { Memory } from "./memory.js";
import { retryAfterMs, type Retries, type Silence, type Timers, Watchdog, withRetries } from "./retry.js";

export interface Call {
  method: "GET" | "POST" | "DELETE";
  /** From `/v1/` on, with the query. */
  path: string;
  /** A value that is sent as JSON, ... */
  json?: unknown;
  /** ... or bytes with their type. */
  bytes?: { body: Blob | ArrayBuffer | ArrayBufferView; type: string };
  signal?: AbortSignal | undefined;
  /** Instead of `timeoutMs`. */
  silence?: Silence;
}

export interface HttpOptions {
  /** Without a slash at its end. */
  baseUrl: string;
  apiKey: string | undefined;
  fetch: typeof fetch;
  /** Longest wait for an answer, and longest silence within one, in milliseconds. */
  timeoutMs: number;
  /** Whether ETags of GET are kept here; not where a browser's cache does that. */
  keepAnswers: boolean;
  retries: Retries;
}

/** A response whose body is still to be read, and the signal that is to be fed with signs of life, then stopped. */
export interface Open {
  response: Response;
  watchdog: Watchdog;
}

export class Http {
  readonly #memory = new Memory();

  constructor(readonly options: HttpOptions) {}

  get timers(): Timers {
    return this.options.retries.timers;
  }

  /** The JSON of a whole answer; tried again as the retries say. */
  json(call: Call): Promise<unknown> {
    return withRetries(this.options.retries, call.signal, async () => {
      const body = await this.#whole(call);
      try {
        return JSON.parse(body) as unknown;
      } catch (cause) {
        throw unusable("it is no JSON", cause);
      }
    });
  }

  /**
   * One try. An answer that is neither 2xx nor expected is thrown as a `BrinkError`, and so is a broken connection.
   * Otherwise the caller reads the body and stops the watchdog.
   */
  async open(call: Call, headers: Record<string, string> = {}, expected: readonly number[] = []): Promise<Open> {
    const { timers, options } = this;
    const watchdog = new Watchdog(timers, call.silence ?? { ms: options.timeoutMs, error: () => this.#timeout() }, call.signal);
    try {
      const response = await this.#fetch(call, headers, watchdog.signal);
      if (response.ok || expected.includes(response.status)) return { response, watchdog };
      const asked = retryAfterMs(response.headers, timers.now());
      throw ofAnswer(response.status, response.headers, await response.text(), asked);
    } catch (error) {
      watchdog.stop();
      throw this.broken(error, watchdog.signal);
    }
  }

  /** What to throw where `fetch`, or the reading of a body, failed with `error`. */
  broken(error: unknown, signal: AbortSignal): unknown {
    if (signal.aborted) return signal.reason;
    if (error instanceof BrinkError) return error;
    const reason = error instanceof Error ? error.message : String(error);
    return connectionFailed(`the connection to ${this.options.baseUrl} failed: ${reason}`, error);
  }

  /** Sends a request whose answer nobody waits for; it outlives the page. */
  forget(call: Call): void {
    this.#fetch(call, {}, undefined, true)
      .then((response) => response.body?.cancel())
      .catch(() => {});
  }

  async #whole(call: Call): Promise<string> {
    const kept = this.options.keepAnswers && call.method === "GET" ? this.#memory.get(call.path) : undefined;
    const headers: Record<string, string> = kept ? { "if-none-match": kept.etag } : {};
    const { response, watchdog } = await this.open(call, headers, kept ? [304] : []);
    try {
      if (kept && response.status === 304) {
        await response.body?.cancel();
        return kept.body;
      }
      const body = await response.text();
      if (call.method === "GET" && this.options.keepAnswers) this.#keep(call.path, response.headers, body);
      return body;
    } catch (error) {
      throw this.broken(error, watchdog.signal);
    } finally {
      watchdog.stop();
    }
  }

  #keep(path: string, headers: Headers, body: string): void {
    const etag = headers.get("etag");
    if (etag === null || /\bno-store\b/i.test(headers.get("cache-control") ?? "")) this.#memory.drop(path);
    else this.#memory.put(path, { etag, body });
  }

  #fetch(call: Call, headers: Record<string, string>, signal: AbortSignal | undefined, keepalive = false): Promise<Response> {
    const { apiKey, baseUrl } = this.options;
    const all: Record<string, string> = { ...headers };
    if (apiKey !== undefined) all["authorization"] = `Bearer ${apiKey}`;
    const init: RequestInit = { method: call.method, headers: all, keepalive };
    if (signal) init.signal = signal;
    if (call.json !== undefined) {
      all["content-type"] = "application/json";
      init.body = JSON.stringify(call.json);
    } else if (call.bytes) {
      all["content-type"] = call.bytes.type;
      init.body = call.bytes.body as BodyInit;
    }
    return this.options.fetch(baseUrl + call.path, init);
  }

  #timeout(): BrinkError {
    const { timeoutMs, baseUrl } = this.options;
    return new BrinkError({ code: "timeout", message: `${baseUrl} said nothing for ${timeoutMs} ms (timeoutMs)` });
  }
}
