/** The client: typed requests, each over HTTP or over the shared socket. */

import { BrinkError, isObject, unusable } from "./error.js";
import { type Call, Http } from "./http.js";
import { SYSTEM_TIMERS, type Timers } from "./retry.js";
import { type Message, Socket, SocketText } from "./socket.js";
import { SseText } from "./stream.js";
import type { Cursor, TextStream, Usage } from "./text.js";
import { vectorsOf } from "./vectors.js";

export interface BrinkOptions {
  /** The edge's address, without `/v1`; a page may say `""` for its own origin. */
  baseUrl: string;
  /** Sent as `Authorization: Bearer`, or as a subprotocol of a socket. Whoever reads the page can read it. */
  apiKey?: string;
  /** Server-sent events, which can be resumed, or one WebSocket for everything that it can carry. Default `"sse"`. */
  transport?: "sse" | "websocket";
  /** Most tries after the first, 0 to 10. Default 2. */
  maxRetries?: number;
  /** Most tries in a row to go on with a text, 0 to 100, if they bring none. Default 5. */
  maxResumes?: number;
  /** Longest wait for an answer, and longest silence within one, in milliseconds. Default 310,000: an edge gives a text 300 s. */
  timeoutMs?: number;
  /** Longest silence of a resumable text in milliseconds, heartbeats included. Default 45,000: three heartbeats. */
  idleMs?: number;
  /**
   * Who keeps answers to GET: the browser (its cache honours `Cache-Control` and revalidates by itself), or this client, by
   * ETag, 64 answers of 2 MiB together at most. Default: the browser where there is one.
   */
  cache?: "browser" | "memory";
  fetch?: typeof fetch;
  WebSocket?: typeof WebSocket;
  timers?: Timers;
}

export interface RequestOptions {
  signal?: AbortSignal | undefined;
}

export interface StreamOptions extends RequestOptions {
  /** Go on where a broken connection left the text. Default `true`; sockets cannot. */
  resume?: boolean;
}

export interface EmbeddingsBody {
  model: string;
  /** Texts, or token ids. */
  input: string | string[] | number[] | number[][];
  dimensions?: number;
  truncate?: boolean;
  user?: string;
}

/** What fits into a URL. */
export interface EmbeddingsQuery {
  model: string;
  input: string | string[];
  dimensions?: number;
  truncate?: boolean;
}

export interface Embeddings {
  model: string;
  /** In the order of the inputs. */
  vectors: Float32Array[];
  usage: { prompt_tokens: number; total_tokens: number };
}

export interface ClassifyBody {
  model: string;
  input: string | string[] | number[] | number[][];
  top_k?: number;
  truncate?: boolean;
}

/** For bytes, which are sent as they are. */
export interface ClassifyRawOptions extends RequestOptions {
  model: string;
  topK?: number;
  /** Default: the Blob's own type, or `application/octet-stream`. */
  contentType?: string;
}

export interface Classification {
  index: number;
  label: string;
  score: number;
  top: { label: string; score: number }[];
}

export interface Classifications {
  model: string;
  data: Classification[];
  usage: { prompt_tokens: number; total_tokens: number };
}

export interface Model {
  id: string;
  created: number;
  owned_by: string;
  /** The model that an alias stands for. */
  root?: string;
}

/** How a text is chosen; docs/generation.md has the ranges. */
export interface Sampling {
  max_tokens?: number;
  temperature?: number;
  top_p?: number;
  top_k?: number;
  min_p?: number;
  presence_penalty?: number;
  frequency_penalty?: number;
  seed?: number;
  stop?: string | string[];
}

export interface ChatMessage {
  role: "system" | "user" | "assistant";
  content: string;
}

export interface ChatBody extends Sampling {
  model: string;
  messages: ChatMessage[];
}

export interface CompletionBody extends Sampling {
  model: string;
  prompt: string;
}

export interface ChatAnswer {
  id: string;
  model: string;
  choices: { index: number; message: ChatMessage; finish_reason: string | null }[];
  usage?: Usage;
}

export interface CompletionChoice {
  index: number;
  text: string;
  finish_reason: string | null;
}

export interface CompletionAnswer {
  id: string;
  model: string;
  choices: CompletionChoice[];
  usage?: Usage;
}

/** What the protocol of sockets has a name for; the rest goes by method and path. */
const OPERATIONS: Record<string, string> = {
  "/v1/embeddings": "embeddings",
  "/v1/classify": "classify",
  "/v1/chat/completions": "chat",
  "/v1/models": "models",
};

/** A client of one edge. It may be used by many requests at a time. */
export class Brink {
  readonly #http: Http;
  readonly #socket: Socket | undefined;
  readonly #maxResumes: number;
  readonly #idleMs: number;

  constructor(options: BrinkOptions) {
    const { apiKey, timers = SYSTEM_TIMERS, cache = hasBrowserCache() ? "browser" : "memory" } = options;
    const baseUrl = addressOf(options.baseUrl);
    const retries = { timers, max: within("maxRetries", options.maxRetries ?? 2, 0, 10) };
    const timeoutMs = within("timeoutMs", options.timeoutMs ?? 310_000, 1, MAX_TIMER_MS);
    this.#maxResumes = within("maxResumes", options.maxResumes ?? 5, 0, 100);
    this.#idleMs = within("idleMs", options.idleMs ?? 45_000, 1, MAX_TIMER_MS);
    // Called as a plain function: the browser's own fetch refuses another `this`.
    const send = options.fetch ?? ((input, init) => fetch(input, init));
    this.#http = new Http({ baseUrl, apiKey, fetch: send, timeoutMs, keepAnswers: cache === "memory", retries });
    if (options.transport === "websocket") {
      this.#socket = new Socket({ baseUrl, apiKey, WebSocket: options.WebSocket ?? WebSocket, timeoutMs, retries });
    }
  }

  /** Vectors of texts. */
  async embeddings(body: EmbeddingsBody, options: RequestOptions = {}): Promise<Embeddings> {
    const json = { ...body, encoding_format: "base64" };
    return embeddingsOf(await this.#json({ method: "POST", path: "/v1/embeddings", json, signal: options.signal }));
  }

  /** The same by GET, which caches keep: for texts that are asked for again and fit into a URL. */
  async embeddingsGet(query: EmbeddingsQuery, options: RequestOptions = {}): Promise<Embeddings> {
    const { input, ...rest } = query;
    const parameters = new URLSearchParams();
    for (const [name, value] of Object.entries(rest)) if (value !== undefined) parameters.set(name, String(value));
    for (const text of Array.isArray(input) ? input : [input]) parameters.append("input", text);
    parameters.set("encoding_format", "base64");
    // Never on the socket: the browser's cache is what this is for.
    return embeddingsOf(await this.#http.json({ method: "GET", path: `/v1/embeddings?${parameters}`, signal: options.signal }));
  }

  /** Labels of texts, or of pictures and files as data URLs. */
  classify(body: ClassifyBody, options?: RequestOptions): Promise<Classifications>;
  /** Labels of one picture or file. */
  classify(bytes: Blob | ArrayBuffer | ArrayBufferView, options: ClassifyRawOptions): Promise<Classifications>;
  async classify(
    input: ClassifyBody | Blob | ArrayBuffer | ArrayBufferView,
    options: RequestOptions | ClassifyRawOptions = {},
  ): Promise<Classifications> {
    const { signal } = options;
    if (!(input instanceof Blob || input instanceof ArrayBuffer || ArrayBuffer.isView(input))) {
      return answer(await this.#json({ method: "POST", path: "/v1/classify", json: input, signal }));
    }
    const { model, topK, contentType } = options as ClassifyRawOptions;
    const parameters = new URLSearchParams({ model });
    if (topK !== undefined) parameters.set("top_k", String(topK));
    const type = contentType ?? ((input instanceof Blob && input.type) || "application/octet-stream");
    const bytes = { body: input, type };
    return answer(await this.#http.json({ method: "POST", path: `/v1/classify?${parameters}`, bytes, signal }));
  }

  /** The models that the edge serves. */
  async models(options: RequestOptions = {}): Promise<Model[]> {
    const list = answer<{ data: Model[] }>(await this.#json({ method: "GET", path: "/v1/models", signal: options.signal }));
    if (!Array.isArray(list.data)) throw unusable("it has no data");
    return list.data;
  }

  /** An answer to messages, once it is whole. */
  async chat(body: ChatBody, options: RequestOptions = {}): Promise<ChatAnswer> {
    return answer(await this.#json({ method: "POST", path: "/v1/chat/completions", json: body, signal: options.signal }));
  }

  /** A prompt's continuation, once it is whole. */
  async completion(body: CompletionBody, options: RequestOptions = {}): Promise<CompletionAnswer> {
    return answer(await this.#json({ method: "POST", path: "/v1/completions", json: body, signal: options.signal }));
  }

  /** An answer to messages, or a prompt's continuation, as it is written. */
  chatStream(body: ChatBody | CompletionBody, options: StreamOptions = {}): TextStream {
    if (((body as { n?: number }).n ?? 1) > 1) {
      throw new BrinkError({ code: "invalid_value", param: "n", message: "n is above 1; a stream has one text" });
    }
    const { signal, resume = true } = options;
    if (!this.#socket) return new SseText(this.#http, { body }, this.#sse(signal, resume));
    const path = "messages" in body ? "/v1/chat/completions" : "/v1/completions";
    return new SocketText(this.#socket, messageOf({ method: "POST", path, json: { ...body, stream: true } }), signal);
  }

  /** Goes on with a text that was left, such as by a reload of the page; always over server-sent events. */
  resumeStream(id: string, cursor: Cursor, options: RequestOptions = {}): TextStream {
    return new SseText(this.#http, { id, cursor }, this.#sse(options.signal, true));
  }

  /** Closes the socket, if there is one; the next request opens another. */
  close(): void {
    this.#socket?.close();
  }

  #sse(signal: AbortSignal | undefined, resume: boolean) {
    return { signal, resume, maxResumes: this.#maxResumes, idleMs: this.#idleMs };
  }

  #json(call: Call): Promise<unknown> {
    return this.#socket ? this.#socket.request(messageOf(call), call.signal) : this.#http.json(call);
  }
}

/** Longest time that a timer of a browser can wait. */
const MAX_TIMER_MS = 2 ** 31 - 1;

function messageOf({ method, path, json }: Call): Message {
  const op = OPERATIONS[path];
  const message: Message = op === undefined ? { method, path } : { op };
  if (json !== undefined) message["body"] = json;
  return message;
}

function embeddingsOf(body: unknown): Embeddings {
  const { model, data, usage } = answer<{ model: string; data: unknown; usage: Embeddings["usage"] }>(body);
  return { model, vectors: vectorsOf(data), usage };
}

/** Answers are taken at the server's word, but for their outermost form. */
function answer<T>(body: unknown): T {
  if (!isObject(body)) throw unusable("it is no object");
  return body as T;
}

function addressOf(baseUrl: string): string {
  const page = typeof location === "object" ? location.href : undefined;
  let url: URL;
  try {
    url = new URL(baseUrl || "/", page);
  } catch (cause) {
    throw new BrinkError({ param: "baseUrl", message: `baseUrl is no address: "${baseUrl}"`, cause });
  }
  if (!/^https?:$/.test(url.protocol)) throw new BrinkError({ param: "baseUrl", message: `baseUrl must begin with http or https: "${baseUrl}"` });
  return (url.origin + url.pathname).replace(/\/+$/, "");
}

function within(name: string, value: number, least: number, most: number): number {
  if (Number.isInteger(value) && value >= least && value <= most) return value;
  throw new BrinkError({ param: name, message: `${name} is ${value}; it must be an integer from ${least} to ${most}` });
}

/** Pages and workers of browsers; not Node. */
function hasBrowserCache(): boolean {
  return typeof document === "object" || "importScripts" in globalThis;
}
