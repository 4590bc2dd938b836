/** Answers to GET with their ETags, for where no browser keeps them. */

/** Most answers that are kept. */
const MAX_ANSWERS = 64;
/** Most characters of all kept answers together, and so of one. */
const MAX_CHARACTERS = 2 << 20;

export interface Kept {
  etag: string;
  body: string;
}

/** Bounded; what was not used for longest leaves first. Bodies are texts, so nobody can change what is kept. */
export class Memory {
  /** In the order of use: a `Map` keeps the order of insertion. */
  readonly #kept = new Map<string, Kept>();
  #characters = 0;

  get(url: string): Kept | undefined {
    const kept = this.#kept.get(url);
    if (kept) {
      this.#kept.delete(url);
      this.#kept.set(url, kept);
    }
    return kept;
  }

  put(url: string, kept: Kept): void {
    this.drop(url);
    if (kept.body.length > MAX_CHARACTERS) return;
    this.#kept.set(url, kept);
    this.#characters += kept.body.length;
    for (const oldest of this.#kept.keys()) {
      if (this.#kept.size <= MAX_ANSWERS && this.#characters <= MAX_CHARACTERS) break;
      this.drop(oldest);
    }
  }

  drop(url: string): void {
    this.#characters -= this.#kept.get(url)?.body.length ?? 0;
    this.#kept.delete(url);
  }
}
