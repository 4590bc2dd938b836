/**
 * Text over `POST /v1/streams`: server-sent events with a cursor, so that a reader who lost the connection, or the
 * page, goes on where it was.
 */

import { BrinkError, connectionFailed, faultOf, unusable } from "./error.js";
import type { Call, Http } from "./http.js";
import { isRetryable, type Silence, sleep, waitBefore } from "./retry.js";
import { events, type ServerEvent } from "./sse.js";
import { type Cursor, endOf, parsed, type TextItem, type TextStream, utf8Length, withoutBytes } from "./text.js";

/** Longest id that is taken from a server, in characters. */
const MAX_ID = 256;

export interface SseOptions {
  signal: AbortSignal | undefined;
  /** Whether a broken connection is mended. */
  resume: boolean;
  /** Most tries in a row that bring no text. */
  maxResumes: number;
  /** Longest silence, heartbeats included, before the connection counts as broken, in milliseconds. */
  idleMs: number;
}

/** Where a text is to be read: from its beginning, or from where somebody left it. */
export type From = { body: object } | { id: string; cursor: Cursor };

export class SseText implements TextStream {
  id: string | undefined;
  cursor: Cursor = 0;
  model: string | undefined;
  promptTokens: number | undefined;
  readonly #items: AsyncGenerator<TextItem>;
  /** Half-open connections: the server sends heartbeats, so silence means that it is gone. */
  readonly #silence: Silence;

  constructor(
    private readonly http: Http,
    private readonly from: From,
    private readonly options: SseOptions,
  ) {
    if ("id" in from) {
      this.id = from.id;
      this.cursor = from.cursor;
    }
    const { idleMs } = options;
    this.#silence = { ms: idleMs, error: () => connectionFailed(`the stream was silent for ${idleMs} ms (idleMs)`) };
    this.#items = this.#run();
  }

  [Symbol.asyncIterator](): AsyncGenerator<TextItem> {
    return this.#items;
  }

  async *#run(): AsyncGenerator<TextItem> {
    // Until told otherwise: the reader left the loop.
    let left = true;
    try {
      yield* this.#mended();
      left = false;
    } catch (error) {
      left = this.options.signal?.aborted === true;
      throw error;
    } finally {
      if (left) this.#giveUp();
    }
  }

  /** Connection after connection, until the text ends. */
  async *#mended(): AsyncGenerator<TextItem> {
    const { signal } = this.options;
    for (let failures = 0; this.cursor !== "end"; failures++) {
      signal?.throwIfAborted();
      const before = this.cursor;
      try {
        return yield* this.#connection();
      } catch (error) {
        signal?.throwIfAborted();
        if (this.cursor !== before) failures = 0;
        if (!isRetryable(error) || failures >= this.#mostFailures()) throw error;
        await sleep(this.http.timers, waitBefore(failures, error.retryAfterMs, this.http.timers), signal);
      }
    }
  }

  /** A text that has begun is worth more tries than a request; one that must not be resumed gets none. */
  #mostFailures(): number {
    if (this.id === undefined) return this.http.options.retries.max;
    return this.options.resume ? this.options.maxResumes : 0;
  }

  async *#connection(): AsyncGenerator<TextItem> {
    const { response, watchdog } = await this.http.open(this.#call(), { accept: "text/event-stream" });
    try {
      // The server has nothing after this place.
      if (response.status === 204) return;
      const type = response.headers.get("content-type") ?? "";
      if (!type.startsWith("text/event-stream") || !response.body) throw unusable(`its type is "${type.slice(0, 80)}"`);
      watchdog.feed(this.#silence);
      for await (const event of events(response.body, () => watchdog.feed())) {
        const item = this.#take(event);
        if (item) yield item;
        if (this.cursor === "end") return;
      }
      throw connectionFailed("the connection ended before the text did");
    } catch (error) {
      throw this.http.broken(error, watchdog.signal);
    } finally {
      watchdog.stop();
    }
  }

  #call(): Call {
    const { signal } = this.options;
    if (this.id === undefined) return { method: "POST", path: "/v1/streams", json: (this.from as { body: object }).body, signal };
    // In the query rather than as Last-Event-ID: a page of another origin then needs no permission to ask.
    return { method: "GET", path: `${pathOf(this.id)}?cursor=${this.cursor}`, signal, silence: this.#silence };
  }

  #take(event: ServerEvent): TextItem | undefined {
    const data = parsed(event.data);
    switch (event.name) {
      case "open":
        return void this.#named(data["id"]);
      case "start":
        return void this.#started(data);
      case "message":
        return this.#text(data["t"], event.id);
      case "end":
        this.cursor = "end";
        return endOf(data);
      case "error":
        throw new BrinkError(faultOf(data) ?? { message: "the text broke off, and the server did not say why" });
      default:
        // An event of a later version; what it says is not needed to follow the text.
        return undefined;
    }
  }

  #named(id: unknown): void {
    // A text that was stored comes at once and is kept nowhere: who loses it asks again, and skips what is there.
    if (id === null) return;
    if (typeof id !== "string" || id === "" || id.length > MAX_ID) throw unusable(`a stream's id must have 1 to ${MAX_ID} characters`);
    this.id = id;
  }

  #started(data: Record<string, unknown>): void {
    if (typeof data["model"] === "string") this.model = data["model"];
    if (typeof data["prompt_tokens"] === "number") this.promptTokens = data["prompt_tokens"];
  }

  /** Cuts what is known already, and takes a gap for a broken connection: nothing is shown twice or left out. */
  #text(text: unknown, id: string | undefined): TextItem | undefined {
    if (typeof text !== "string") throw unusable("a piece of text has no text");
    const at = this.cursor as number;
    const length = utf8Length(text);
    const end = id === undefined ? at + length : Number(id);
    if (!Number.isSafeInteger(end)) throw unusable("the id of a piece of text is no number");
    const begin = end - length;
    if (begin > at) throw new BrinkError({ code: "stream_broken", message: `the text goes on at byte ${begin}, after byte ${at}` });
    if (end <= at) return undefined;
    this.cursor = end;
    return { text: begin === at ? text : withoutBytes(text, at - begin), cursor: end };
  }

  #giveUp(): void {
    if (this.id !== undefined && this.cursor !== "end") this.http.forget({ method: "DELETE", path: pathOf(this.id) });
  }
}

function pathOf(id: string): string {
  return `/v1/streams/${encodeURIComponent(id)}`;
}
