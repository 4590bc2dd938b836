/** Text for a page: merged, so that the page is changed once a frame and not once a token. */

import type { TextEnd, TextItem, TextPiece } from "./text.js";

/** Where there are no frames (Node, workers of some browsers), what came within this many milliseconds is one. */
const FRAME_MS = 16;

/**
 * Reads a text to its end and hands it to `apply`, at most once a frame; the rest before this function ends.
 *
 * `piece` is all text since the last call, with the cursor after it: what `apply` shows and what it keeps for
 * `resumeStream` belong together. A hidden page has no frames, and gets its text when it is shown again or at the end.
 * What `apply` throws ends the reading and is thrown here.
 */
export async function perFrame(items: AsyncIterable<TextItem>, apply: (piece: TextPiece) => void): Promise<TextEnd | undefined> {
  let waiting: TextPiece | undefined;
  let cancel: (() => void) | undefined;
  let failed: { error: unknown } | undefined;
  const flush = () => {
    cancel = undefined;
    const piece = waiting;
    waiting = undefined;
    if (piece) apply(piece);
  };
  const inFrame = () => {
    try {
      flush();
    } catch (error) {
      failed = { error };
    }
  };
  try {
    for await (const item of items) {
      if (failed) break;
      if (item.text === undefined) return item;
      waiting = waiting ? { text: waiting.text + item.text, cursor: item.cursor } : item;
      cancel ??= nextFrame(inFrame);
    }
    return undefined;
  } finally {
    // Also when the text broke off: what came is shown before the error is.
    cancel?.();
    if (failed) throw failed.error;
    flush();
  }
}

function nextFrame(call: () => void): () => void {
  if (typeof requestAnimationFrame === "function") {
    const frame = requestAnimationFrame(call);
    return () => cancelAnimationFrame(frame);
  }
  const timer = setTimeout(call, FRAME_MS);
  return () => clearTimeout(timer);
}
