/** Server-sent events (the HTML standard, section 9.2) out of the bytes of a response. */

import { unusable } from "./error.js";

export interface ServerEvent {
  /** The event's name; `message` if it has none. */
  name: string;
  /** The `id` of this very event; that of an earlier one is not repeated. */
  id: string | undefined;
  data: string;
}

/** Largest event, in UTF-16 units: a server that never ends a line must not fill the memory. */
const MAX_EVENT = 1 << 20;

/**
 * Takes a response apart. Comments (heartbeats) and events without data are left out, as is an event that the end
 * of the body cut off. `alive` is called for every chunk of bytes, heartbeats included.
 */
export async function* events(body: ReadableStream<Uint8Array>, alive: () => void): AsyncGenerator<ServerEvent> {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  const parser = new Parser();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      alive();
      yield* parser.push(decoder.decode(value, { stream: true }));
    }
  } finally {
    // Closes the connection if the reader left early; there is nothing to cancel after the end.
    reader.cancel().catch(() => {});
  }
}

/** Lines end with CR, LF or CRLF, and any of these, or a character, may be split between two chunks. */
class Parser {
  #rest = "";
  #afterCr = false;
  #event = fresh();

  *push(text: string): Generator<ServerEvent> {
    if (this.#afterCr && text !== "") {
      if (text.startsWith("\n")) text = text.slice(1);
      this.#afterCr = false;
    }
    const lines = (this.#rest + text).split(/\r\n|\r|\n/);
    this.#rest = lines.pop() ?? "";
    // A final CR has ended its line already; an LF at the head of the next chunk belongs to it.
    this.#afterCr = this.#rest === "" && text.endsWith("\r");
    for (const line of lines) {
      const event = this.#line(line);
      if (event) yield event;
    }
    this.#limit(this.#rest.length);
  }

  #line(line: string): ServerEvent | undefined {
    if (line === "") {
      const { name, id, data } = this.#event;
      this.#event = fresh();
      return data === undefined ? undefined : { name: name || "message", id, data };
    }
    const colon = line.indexOf(":");
    if (colon === 0) return undefined;
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (field === "data") this.#add(value);
    else if (field === "event") this.#event.name = value;
    else if (field === "id") this.#event.id = value;
    return undefined;
  }

  #add(value: string): void {
    const before = this.#event.data;
    this.#event.data = before === undefined ? value : `${before}\n${value}`;
    this.#limit(this.#event.data.length);
  }

  #limit(length: number): void {
    if (length > MAX_EVENT) throw unusable(`an event has more than ${MAX_EVENT} characters`);
  }
}

function fresh(): { name: string; id: string | undefined; data: string | undefined } {
  return { name: "", id: undefined, data: undefined };
}
