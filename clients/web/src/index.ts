/**
 * Brink's client for browsers. No dependency, and nothing that a current browser lacks.
 *
 * ```text
 *  Brink (brink.ts)          typed requests
 *    |-- http.ts             one request over fetch: limits, errors, ETag reuse
 *    |-- stream.ts           text over server-sent events that survives lost connections
 *    |-- socket.ts           the protocol of /v1/ws, one socket for all requests
 *    `-- retry.ts            when to try again, and how long to wait
 *  perFrame (frame.ts)       text for a page, once a frame
 * ```
 */

export { Brink } from "./brink.js";
export type {
  BrinkOptions,
  ChatAnswer,
  ChatBody,
  ChatMessage,
  Classification,
  Classifications,
  ClassifyBody,
  ClassifyRawOptions,
  CompletionAnswer,
  CompletionBody,
  CompletionChoice,
  Embeddings,
  EmbeddingsBody,
  EmbeddingsQuery,
  Model,
  RequestOptions,
  Sampling,
  StreamOptions,
} from "./brink.js";
export { BrinkError } from "./error.js";
export { perFrame } from "./frame.js";
export type { Timers } from "./retry.js";
export type { TextEnd, TextItem, TextPiece, TextStream, Usage } from "./text.js";
