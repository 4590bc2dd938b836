import assert from "node:assert/strict";
import { test } from "node:test";
import { Brink } from "../dist/brink.js";
import { Fake } from "./fake.mjs";
import { TestTimers } from "./timers.mjs";

/** Runs a test with a server and a client of it that waits for nothing. */
export function withServer(name, body, options = {}) {
  test(name, { timeout: 20_000 }, async () => {
    const fake = await Fake.listen();
    const timers = new TestTimers();
    const brink = new Brink({ baseUrl: fake.url, timers, ...options });
    try {
      await body({ fake, brink, timers });
    } finally {
      brink.close();
      await fake.close();
    }
  });
}

/** Everything that a text gives: the text, its pieces and its end. */
export async function read(stream) {
  const pieces = [];
  let end;
  for await (const item of stream) {
    if (item.text === undefined) end = item;
    else pieces.push(item);
  }
  return { text: pieces.map((piece) => piece.text).join(""), pieces, end };
}

/** The error that a promise fails with. */
export async function failure(promise) {
  try {
    await promise;
  } catch (error) {
    return error;
  }
  assert.fail("it did not fail");
}

export const CHAT = { model: "writer", messages: [{ role: "user", content: "Hi" }] };
