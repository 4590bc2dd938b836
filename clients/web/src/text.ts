/** Text as it is written: what every transport gives. */

import { unusable, isObject } from "./error.js";

/** What a text cost, in tokens. */
export interface Usage {
  prompt_tokens: number;
  completion_tokens: number;
  total_tokens: number;
}

/** A place in a text: UTF-8 bytes from its beginning, or `"end"`. */
export type Cursor = number | "end";

/** More text, to be appended. */
export interface TextPiece {
  text: string;
  /** Where the text is now. Kept together with the text, it is what `resumeStream` goes on from. */
  cursor: number;
  finishReason?: undefined;
}

/** The end of a text; nothing comes after it. */
export interface TextEnd {
  text?: undefined;
  /** `stop`, `length`, ... as the server says it. */
  finishReason: string | null;
  usage: Usage | undefined;
}

export type TextItem = TextPiece | TextEnd;

/**
 * A text under way, to be read with `for await`, once. Nothing is sent before the first piece is asked for.
 *
 * Leaving the loop early, or aborting the signal, tells the server to stop writing.
 */
export interface TextStream extends AsyncIterable<TextItem> {
  /** The name under which the server keeps the text, once known. Texts on a socket have none. */
  readonly id: string | undefined;
  /** Where the text is. */
  readonly cursor: Cursor;
  /** Which model writes, once known. */
  readonly model: string | undefined;
  /** How many tokens the model read, once known. */
  readonly promptTokens: number | undefined;
}

const encoder = new TextEncoder();

export function utf8Length(text: string): number {
  return encoder.encode(text).length;
}

/** `text` without its first `bytes` bytes, which must not end within a character. */
export function withoutBytes(text: string, bytes: number): string {
  return new TextDecoder().decode(encoder.encode(text).subarray(bytes));
}

/** Parses the JSON of a message that must be an object. */
export function parsed(data: string): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(data);
  } catch (cause) {
    throw unusable("a message is no JSON", cause);
  }
  if (!isObject(value)) throw unusable("a message is no object");
  return value;
}

/** The end as `{"finish_reason", "usage"}` tells it. */
export function endOf(done: Record<string, unknown>): TextEnd {
  const reason = done["finish_reason"];
  const usage = done["usage"];
  return {
    finishReason: typeof reason === "string" ? reason : done["cancelled"] === true ? "cancelled" : null,
    usage: isObject(usage) ? (usage as unknown as Usage) : undefined,
  };
}
