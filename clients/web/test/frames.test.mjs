// Merging text for a page.

import assert from "node:assert/strict";
import { test } from "node:test";
import { perFrame } from "../dist/brink.js";
import { failure } from "./support.mjs";

const END = { finishReason: "stop", usage: undefined };

/** Frames that come when the test says so. */
function withFrames(body) {
  return async () => {
    const frames = new Map();
    let last = 0;
    globalThis.requestAnimationFrame = (call) => {
      frames.set(++last, call);
      return last;
    };
    globalThis.cancelAnimationFrame = (id) => frames.delete(id);
    const frame = () => {
      const calls = [...frames.values()];
      frames.clear();
      for (const call of calls) call();
      return calls.length;
    };
    try {
      await body({ frame, frames });
    } finally {
      delete globalThis.requestAnimationFrame;
      delete globalThis.cancelAnimationFrame;
    }
  };
}

test("what comes within a frame is applied at once, with the last cursor", withFrames(async ({ frame, frames }) => {
  const applied = [];
  async function* text() {
    yield { text: "a", cursor: 1 };
    yield { text: "b", cursor: 2 };
    assert.deepEqual([frame(), applied.splice(0)], [1, [{ text: "ab", cursor: 2 }]]);
    yield { text: "c", cursor: 3 };
    assert.deepEqual([frame(), applied.splice(0)], [1, [{ text: "c", cursor: 3 }]]);
    assert.equal(frame(), 0);
    yield { text: "d", cursor: 4 };
    yield { text: "e", cursor: 5 };
    yield END;
  }
  assert.equal(await perFrame(text(), (piece) => applied.push(piece)), END);
  // The rest does not wait for a frame, and no frame comes after the end.
  assert.deepEqual([applied, frames.size], [[{ text: "de", cursor: 5 }], 0]);
}));

test("what came before an error is applied before it is thrown", withFrames(async () => {
  const applied = [];
  async function* text() {
    yield { text: "a", cursor: 1 };
    throw new Error("broken");
  }
  assert.equal((await failure(perFrame(text(), ({ text }) => applied.push(text)))).message, "broken");
  assert.deepEqual(applied, ["a"]);
}));

test("an error of the page ends the reading", withFrames(async ({ frame }) => {
  let left = false;
  async function* text() {
    try {
      yield { text: "a", cursor: 1 };
      frame();
      yield { text: "b", cursor: 2 };
      assert.fail("read on");
    } finally {
      left = true;
    }
  }
  const error = await failure(perFrame(text(), () => {
    throw new Error("page");
  }));
  assert.deepEqual([error.message, left], ["page", true]);
}));

test("where there are no frames, text comes all the same", async () => {
  const applied = [];
  let seen = () => {};
  async function* text() {
    const first = new Promise((resolve) => (seen = resolve));
    yield { text: "a", cursor: 1 };
    // The end comes only after the first text was applied, so it was not the end that applied it.
    await first;
    yield { text: "b", cursor: 2 };
    yield END;
  }
  await perFrame(text(), ({ text }) => {
    applied.push(text);
    seen();
  });
  assert.deepEqual(applied, ["a", "b"]);
});
