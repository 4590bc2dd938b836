// The built client in Chromium, against a running product.

import assert from "node:assert/strict";
import { EMBEDDINGS, inBrowser, MODEL, openClient, withBrowser } from "./support.mjs";

withBrowser();

/** Chosen by the model's own probabilities, so that two answers are the same. */
const BODY = { model: MODEL, messages: [{ role: "user", content: "Name three colours." }], max_tokens: 24, temperature: 0 };
/** Long enough to be interrupted. */
const LONG = { model: MODEL, messages: [{ role: "user", content: "Tell a long story about a lighthouse." }], max_tokens: 400, temperature: 0 };

inBrowser("vectors are the same by POST, by GET and over a socket", async (page) => {
  await openClient(page);
  const vectors = await page.evaluate(async (model) => {
    const { Brink } = globalThis.client;
    const brink = new Brink({ baseUrl: "" });
    const socket = new Brink({ baseUrl: "", transport: "websocket" });
    const input = ["The cat sits outside", "Grüße & 日本"];
    const answers = await Promise.all([brink.embeddings({ model, input }), brink.embeddingsGet({ model, input }), socket.embeddings({ model, input })]);
    return answers.map(({ vectors }) => vectors.map((vector) => [...vector]));
  }, EMBEDDINGS);
  assert.equal(vectors[0].length, 2);
  assert.deepEqual(vectors[1], vectors[0]);
  assert.deepEqual(vectors[2], vectors[0]);
  for (const vector of vectors[0]) assert.ok(Math.abs(Math.hypot(...vector) - 1) < 1e-3);
});

inBrowser("the browser keeps answers to GET, and an ETag saves the body of others", async (page) => {
  await openClient(page);
  const seen = await page.evaluate(async (model) => {
    const { Brink } = globalThis.client;
    const query = { model, input: `kept ${Math.random()}` };
    const statuses = [];
    const watched = (cache) => async (url, init) => {
      const response = await fetch(url, { ...init, cache });
      statuses.push(response.status);
      return response;
    };
    const brink = new Brink({ baseUrl: "" });
    const first = await brink.embeddingsGet(query);
    const second = await brink.embeddingsGet(query);
    const entries = performance.getEntriesByType("resource").filter(({ name }) => name.includes("/v1/embeddings"));
    const revalidating = new Brink({ baseUrl: "", fetch: watched("no-cache") });
    const third = await revalidating.embeddingsGet(query);
    const revalidated = performance.getEntriesByType("resource").filter(({ name }) => name.includes("/v1/embeddings")).at(-1);
    const keeping = new Brink({ baseUrl: "", cache: "memory", fetch: watched("no-store") });
    await keeping.embeddingsGet(query);
    const fourth = await keeping.embeddingsGet(query);
    const same = [second, third, fourth].every(({ vectors }) => String(vectors[0]) === String(first.vectors[0]));
    const sizes = [...entries, revalidated].map(({ transferSize, encodedBodySize }) => ({ transferSize, encodedBodySize }));
    return { statuses, same, sizes };
  }, EMBEDDINGS);
  assert.ok(seen.same);
  const [first, second, revalidated] = seen.sizes;
  assert.ok(first.transferSize > first.encodedBodySize, "the first answer comes over the network");
  assert.equal(second.transferSize, 0, "the second comes out of the browser's cache");
  assert.ok(revalidated.transferSize < revalidated.encodedBodySize, "a revalidation brings no body");
  assert.deepEqual(seen.statuses, [200, 200, 304]);
});

inBrowser("a file is classified, and mistakes are told as the server tells them", async (page) => {
  await openClient(page);
  const { data, error } = await page.evaluate(async () => {
    const brink = new globalThis.client.Brink({ baseUrl: "" });
    const { data } = await brink.classify(new Blob(["#!/bin/sh\nset -eu\nfor f in *.txt; do\n  echo \"$f\"\ndone\n"]), { model: "magika", topK: 2 });
    const failed = await brink.embeddings({ model: "no-such-model", input: "a" }).catch((error) => error);
    const { status, code, param, requestId } = failed;
    return { data, error: { status, code, param, hasId: requestId !== null } };
  });
  assert.equal(data[0].label, "shell");
  assert.equal(data[0].top.length, 2);
  assert.deepEqual(error, { status: 404, code: "model_not_found", param: "model", hasId: true });
});

inBrowser("a text is the same whole, over server-sent events and over a socket", async (page) => {
  const sockets = [];
  page.on("websocket", (socket) => sockets.push(socket.url()));
  await openClient(page);
  const answers = await page.evaluate(async (body) => {
    const { Brink, perFrame } = globalThis.client;
    const read = async (stream) => {
      const calls = [];
      const end = await perFrame(stream, ({ text, cursor }) => calls.push({ text, cursor }));
      return { text: calls.map(({ text }) => text).join(""), cursor: calls.at(-1).cursor, end };
    };
    const brink = new Brink({ baseUrl: "" });
    const socket = new Brink({ baseUrl: "", transport: "websocket" });
    const whole = await brink.chat(body);
    const overSocket = await socket.chat(body);
    return {
      whole: whole.choices[0].message.content,
      overSocket: overSocket.choices[0].message.content,
      usage: whole.usage,
      streams: [await read(brink.chatStream(body)), await read(socket.chatStream(body))],
    };
  }, BODY);
  assert.ok(answers.whole.length > 0);
  assert.equal(answers.overSocket, answers.whole);
  for (const { text, cursor, end } of answers.streams) {
    assert.equal(text, answers.whole);
    assert.equal(cursor, Buffer.byteLength(text));
    assert.ok(["stop", "length"].includes(end.finishReason));
  }
  assert.equal(answers.streams[0].end.usage.total_tokens, answers.usage.total_tokens);
  assert.equal(sockets.length, 1);
});

inBrowser("a prompt is continued", async (page) => {
  await openClient(page);
  const { whole, streamed } = await page.evaluate(async (body) => {
    const brink = new globalThis.client.Brink({ baseUrl: "" });
    let streamed = "";
    for await (const { text } of brink.chatStream(body)) streamed += text ?? "";
    return { whole: (await brink.completion(body)).choices[0].text, streamed };
  }, { model: MODEL, prompt: "The capital of France is", max_tokens: 8, temperature: 0 });
  assert.ok(whole.length > 0);
  assert.equal(streamed, whole);
});

inBrowser("a text that was left is gone on with from its cursor", async (page) => {
  await openClient(page);
  // One that is not stored: a stored text comes whole, and is kept under no id.
  const { left, rest, whole } = await page.evaluate(async (body) => {
    const brink = new globalThis.client.Brink({ baseUrl: "" });
    const stream = brink.chatStream(body);
    const items = stream[Symbol.asyncIterator]();
    const left = (await items.next()).value.text;
    // Not `return()`, which would give the text up: another reader takes over, as after a reload.
    let rest = "";
    for await (const { text } of new globalThis.client.Brink({ baseUrl: "" }).resumeStream(stream.id, stream.cursor)) rest += text ?? "";
    return { left, rest, whole: (await brink.chat(body)).choices[0].message.content };
  }, { ...BODY, messages: [{ role: "user", content: `Name three rivers. ${Math.random()}` }] });
  assert.ok(left.length > 0 && rest.length > 0);
  assert.equal(left + rest, whole);
});

inBrowser("an abort gives the text up, and the server forgets it", async (page) => {
  await openClient(page);
  const deleted = page.waitForResponse((response) => response.request().method() === "DELETE");
  const { name, text, id } = await page.evaluate(async (body) => {
    const controller = new AbortController();
    const stream = new globalThis.client.Brink({ baseUrl: "" }).chatStream(body, { signal: controller.signal });
    let text = "";
    try {
      for await (const item of stream) {
        text += item.text;
        controller.abort();
      }
    } catch (error) {
      return { name: error.name, text, id: stream.id };
    }
  }, LONG);
  assert.equal(name, "AbortError");
  assert.ok(text.length > 0);
  assert.equal((await deleted).status(), 204);
  const code = await page.evaluate(async (id) => {
    try {
      for await (const _ of new globalThis.client.Brink({ baseUrl: "" }).resumeStream(id, 0));
    } catch (error) {
      return error.code;
    }
  }, id);
  assert.equal(code, "stream_not_found");
});

inBrowser("an abort on a socket cancels that request, and the socket serves on", async (page) => {
  const sent = [];
  page.on("websocket", (socket) => {
    sent.push("opened");
    socket.on("framesent", ({ payload }) => sent.push(JSON.parse(payload)));
  });
  await openClient(page);
  const { name, models } = await page.evaluate(async (body) => {
    const brink = new globalThis.client.Brink({ baseUrl: "", transport: "websocket" });
    const controller = new AbortController();
    let name;
    try {
      for await (const _ of brink.chatStream(body, { signal: controller.signal })) controller.abort();
    } catch (error) {
      name = error.name;
    }
    return { name, models: (await brink.models()).map(({ id }) => id) };
  }, LONG);
  assert.equal(name, "AbortError");
  assert.ok(models.includes(MODEL));
  assert.equal(sent.filter((message) => message === "opened").length, 1);
  assert.deepEqual(sent[2], { id: "1", cancel: true });
});
