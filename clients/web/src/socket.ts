/**
 * The protocol of `/v1/ws` (docs/websocket.md): one socket for all requests of a client, opened when the first one
 * comes and again after it closed.
 */

import { BrinkError, connectionFailed, faultOf, isObject, unusable } from "./error.js";
import { isRetryable, type Retries, sleep, waitBefore, Watchdog, withRetries } from "./retry.js";
import { endOf, parsed, type TextEnd, type TextItem, type TextStream, utf8Length } from "./text.js";

/** Longest wait for a socket to open, in milliseconds. */
const OPENING_MS = 15_000;
/** `WebSocket.OPEN`. */
const OPEN = 1;
/** Most text that waits for a reader who does not come, in UTF-16 units. */
const MAX_WAITING = 16 << 20;
/** What may be a subprotocol (RFC 9110, a token): the only way by which a page can send its key. */
const TOKEN = /^[\w!#$%&'*+.^`|~-]+$/;

export interface SocketOptions {
  /** That of HTTP, without a slash at its end. */
  baseUrl: string;
  apiKey: string | undefined;
  WebSocket: typeof WebSocket;
  timeoutMs: number;
  retries: Retries;
}

/** A request as the protocol has it, without its id. */
export type Message = Record<string, unknown>;

type Incoming = { text: string } | { end: TextEnd } | { result: unknown };

export class Socket {
  #line: Promise<Line> | undefined;

  constructor(readonly options: SocketOptions) {}

  /** The result of a request that is answered as a whole; tried again as the retries say. */
  request(message: Message, signal: AbortSignal | undefined): Promise<unknown> {
    return withRetries(this.options.retries, signal, async () => {
      for await (const incoming of this.ask(message, signal)) {
        if ("result" in incoming) return incoming.result;
      }
      throw unusable("a stream where a result was asked for");
    });
  }

  /** One try: everything that comes for a request, until its result or its end. Whoever leaves early cancels it. */
  async *ask(message: Message, signal: AbortSignal | undefined): AsyncGenerator<Incoming> {
    const line = await this.#open(signal);
    const { timeoutMs, retries } = this.options;
    const timeout = () => new BrinkError({ code: "timeout", message: `the socket said nothing for ${timeoutMs} ms (timeoutMs)` });
    const watchdog = new Watchdog(retries.timers, { ms: timeoutMs, error: timeout }, signal);
    const inbox = new Inbox(() => watchdog.feed());
    watchdog.signal.addEventListener("abort", () => inbox.fail(watchdog.signal.reason), { once: true });
    const id = line.send(message, inbox);
    try {
      for (;;) {
        const incoming = await inbox.next();
        yield incoming;
        if (!("text" in incoming)) return;
      }
    } catch (error) {
      // The socket is about to close, and takes no more requests.
      if (error instanceof BrinkError && error.code === "draining") this.#retire(line);
      throw error;
    } finally {
      watchdog.stop();
      line.cancel(id);
    }
  }

  close(): void {
    this.#line?.then((line) => line.close(), () => {});
    this.#line = undefined;
  }

  /** The shared socket; a signal ends the waiting for it, and not its opening, which others wait for too. */
  async #open(signal: AbortSignal | undefined): Promise<Line> {
    signal?.throwIfAborted();
    this.#line ??= this.#connect();
    const line = this.#line;
    if (!signal) return line;
    return new Promise((resolve, reject) => {
      const aborted = () => reject(signal.reason);
      signal.addEventListener("abort", aborted, { once: true });
      line.then(resolve, reject).finally(() => signal.removeEventListener("abort", aborted));
    });
  }

  #connect(): Promise<Line> {
    const opening = new Promise<Line>((resolve, reject) => {
      const socket = new this.options.WebSocket(`${this.options.baseUrl.replace(/^http/, "ws")}/v1/ws`, this.#protocols());
      const line = new Line(socket);
      const late = this.options.retries.timers.after(OPENING_MS, () => socket.close());
      const ended = (code: number) => {
        late();
        if (this.#line === opening) this.#line = undefined;
        // A page is not told why a handshake was refused.
        reject(connectionFailed(`no WebSocket at ${this.options.baseUrl}/v1/ws (close code ${code})`));
        line.closed(code);
      };
      socket.onopen = () => {
        late();
        resolve(line);
      };
      socket.onclose = (event) => ended(event.code);
      // Browsers tell of a handshake that failed by both events, others by this one alone; later, the other has the code.
      socket.onerror = () => {
        if (socket.readyState !== OPEN) ended(1006);
      };
    });
    opening.catch(() => {
      if (this.#line === opening) this.#line = undefined;
    });
    return opening;
  }

  #protocols(): string[] {
    const { apiKey } = this.options;
    if (apiKey === undefined) return ["brink.v1"];
    if (!TOKEN.test(apiKey)) {
      throw new BrinkError({ code: "invalid_api_key", param: "apiKey", message: "apiKey has a character that a WebSocket cannot carry, such as / or =; use the transport \"sse\"" });
    }
    return ["brink.v1", `bearer.${apiKey}`];
  }

  #retire(line: Line): void {
    this.#line?.then((current) => {
      if (current === line) this.#line = undefined;
    }, () => {});
  }
}

/** One open WebSocket and the requests under way on it. */
class Line {
  readonly #inboxes = new Map<string, Inbox>();
  #ids = 0;
  /** Whose text the last message of text was; the next may leave its id out. */
  #speaker = "";

  constructor(private readonly socket: WebSocket) {
    socket.onmessage = (event: MessageEvent) => this.#receive(event.data);
  }

  send(message: Message, inbox: Inbox): string {
    const id = String(++this.#ids);
    this.#inboxes.set(id, inbox);
    // A socket that closed since it was looked up throws nothing here, and tells nothing more.
    if (this.socket.readyState === OPEN) this.socket.send(JSON.stringify({ id, ...message }));
    else inbox.fail(connectionFailed("the socket closed"));
    return id;
  }

  /** Ends a request, if it is still under way. */
  cancel(id: string): void {
    const inbox = this.#inboxes.get(id);
    if (!inbox) return;
    this.#inboxes.delete(id);
    if (!inbox.over && this.socket.readyState === OPEN) this.socket.send(JSON.stringify({ id, cancel: true }));
  }

  close(): void {
    this.socket.close(1000);
  }

  closed(code: number): void {
    this.#failAll(whyClosed(code));
  }

  #receive(data: unknown): void {
    try {
      this.#deliver(parsed(String(data)));
    } catch (error) {
      this.#failAll(error);
      this.close();
    }
  }

  #deliver(message: Record<string, unknown>): void {
    const { t: text } = message;
    const id = typeof message["id"] === "string" ? message["id"] : typeof text === "string" ? this.#speaker : undefined;
    // The host made nothing of a message, and cannot say which: a request would wait for ever.
    if (id === undefined) return this.#failAll(refusal(message));
    if (typeof text === "string") this.#speaker = id;
    // What still comes after a cancellation has no inbox.
    this.#inboxes.get(id)?.take(message);
  }

  #failAll(error: unknown): void {
    for (const inbox of this.#inboxes.values()) inbox.fail(error);
    this.#inboxes.clear();
  }
}

/** What came for one request and was not read yet. Text is merged, so a slow reader costs its text and no more. */
class Inbox {
  /** Whether the host has said its last word about the request. */
  over = false;
  #text = "";
  #last: Incoming | undefined;
  #error: { reason: unknown } | undefined;
  #wake: () => void = () => {};

  constructor(private readonly alive: () => void) {}

  async next(): Promise<Incoming> {
    while (!this.#text && !this.#last && !this.#error) await new Promise<void>((resolve) => (this.#wake = resolve));
    const text = this.#text;
    this.#text = "";
    if (text) return { text };
    if (this.#last) return this.#last;
    throw this.#error?.reason;
  }

  fail(reason: unknown): void {
    this.#error ??= { reason };
    this.#wake();
  }

  take(message: Record<string, unknown>): void {
    this.alive();
    const { t: text, event, done, error } = message;
    if (typeof text === "string") this.#append(text);
    else if (event !== undefined) this.#append(textOf(event));
    else if (isObject(done)) this.#end({ end: endOf(done) });
    else if (error !== undefined) {
      this.over = true;
      this.fail(refusal(message));
    } else if ("result" in message) this.#end({ result: message["result"] });
    this.#wake();
  }

  #append(text: string): void {
    this.#text += text;
    if (this.#text.length <= MAX_WAITING) return;
    this.#text = "";
    this.fail(new BrinkError({ code: "too_slow", message: `more than ${MAX_WAITING} characters of text wait for their reader` }));
  }

  #end(last: Incoming): void {
    this.over = true;
    this.#last = last;
  }
}

/** Text on a socket. It cannot be resumed: the host keeps nothing of it. */
export class SocketText implements TextStream {
  readonly id = undefined;
  readonly model = undefined;
  readonly promptTokens = undefined;
  cursor: number | "end" = 0;
  readonly #items: AsyncGenerator<TextItem>;

  constructor(
    private readonly socket: Socket,
    message: Message,
    signal: AbortSignal | undefined,
  ) {
    this.#items = this.#run(message, signal);
  }

  [Symbol.asyncIterator](): AsyncGenerator<TextItem> {
    return this.#items;
  }

  async *#run(message: Message, signal: AbortSignal | undefined): AsyncGenerator<TextItem> {
    const { timers, max } = this.socket.options.retries;
    for (let failures = 0; ; failures++) {
      try {
        return yield* this.#attempt(message, signal);
      } catch (error) {
        signal?.throwIfAborted();
        // Another try would begin the text anew.
        if (this.cursor !== 0 || failures >= max || !isRetryable(error)) throw error;
        await sleep(timers, waitBefore(failures, error.retryAfterMs, timers), signal);
      }
    }
  }

  async *#attempt(message: Message, signal: AbortSignal | undefined): AsyncGenerator<TextItem> {
    for await (const incoming of this.socket.ask(message, signal)) {
      if ("result" in incoming) throw unusable("a result where a stream was asked for");
      if ("end" in incoming) {
        this.cursor = "end";
        yield incoming.end;
        return;
      }
      const cursor = (this.cursor as number) + utf8Length(incoming.text);
      this.cursor = cursor;
      yield { text: incoming.text, cursor };
    }
  }
}

/** The text of one of OpenAI's chunks, as they come where there is more to tell than text. */
function textOf(event: unknown): string {
  const choices = isObject(event) ? event["choices"] : undefined;
  const choice: unknown = Array.isArray(choices) ? choices[0] : undefined;
  if (!isObject(choice)) return "";
  const { delta, text } = choice;
  const content = isObject(delta) ? delta["content"] : text;
  return typeof content === "string" ? content : "";
}

function refusal(message: Record<string, unknown>): BrinkError {
  const { status, retry_after_ms: asked } = message;
  const fault = faultOf(message) ?? { message: "the host refused a message" };
  // Another socket takes what a draining one refuses.
  const wait = typeof asked === "number" ? asked : fault.code === "draining" ? 0 : undefined;
  return new BrinkError({ ...fault, status: typeof status === "number" ? status : 0, retryAfterMs: wait });
}

/** What the codes of docs/websocket.md mean for a request that has no end yet. */
function whyClosed(code: number): BrinkError {
  switch (code) {
    case 1001:
      return new BrinkError({ code: "connection_failed", message: "the host closed the socket, to open another (1001)", retryAfterMs: 0 });
    case 1002:
    case 1003:
    case 1007:
    case 1008:
      return new BrinkError({ code: "protocol_error", message: `the host did not understand this client (close code ${code})` });
    case 1009:
      return new BrinkError({ code: "message_too_large", message: "the request is too large for a socket (1009); send it over HTTP" });
    case 4008:
      return new BrinkError({ code: "too_slow", message: "answers were not read as fast as they came (4008)" });
    default:
      return connectionFailed(`the socket closed (close code ${code})`);
  }
}
