// Requests that are answered as a whole: what goes over the wire, and what comes back.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Brink } from "../dist/brink.js";
import { json, TEXT, USAGE, vector } from "./fake.mjs";
import { CHAT, failure, withServer } from "./support.mjs";

withServer("vectors come as base64 and are put at the index of their input", async ({ fake, brink }) => {
  const { vectors, model, usage } = await brink.embeddings({ model: "m", input: ["a", "bcd"] });
  assert.deepEqual(vectors, [vector("a"), vector("bcd")]);
  assert.deepEqual([model, usage.total_tokens], ["m", 3]);
  assert.deepEqual(fake.requests[0].json, { model: "m", input: ["a", "bcd"], encoding_format: "base64" });
});

withServer("a vector that is cut, repeated or no base64 is an error and no number", async ({ fake, brink }) => {
  const check = async (data, expected) => {
    fake.instead.push((_, response) => json(response, 200, { model: "m", data }));
    const error = await failure(brink.embeddings({ model: "m", input: "a" }));
    assert.equal(error.code, "answer_unusable");
    assert.match(error.message, expected);
  };
  await check([{ index: 0, embedding: "AAAA" }], /3 bytes/);
  await check([{ index: 0, embedding: "?" }], /base64/);
  await check([{ index: 0, embedding: [1] }], /base64/);
  await check([{ index: 1, embedding: "AAAAAA==" }], /index/);
  await check(undefined, /no data/);
  assert.equal(fake.requests.length, 5);
});

withServer("an API key goes into the header and a slash after the address nowhere", async ({ fake }) => {
  const brink = new Brink({ baseUrl: `${fake.url}//`, apiKey: "k1" });
  await brink.models();
  assert.equal(fake.requests[0].headers.authorization, "Bearer k1");
  assert.equal(fake.requests[0].url, "/v1/models");
});

withServer("GET repeats the parameter for each input and escapes it", async ({ fake, brink }) => {
  const { vectors } = await brink.embeddingsGet({ model: "m", input: ["a&b", "ü+?"], truncate: true, dimensions: undefined });
  assert.deepEqual(vectors, [vector("a&b"), vector("ü+?")]);
  const { method, query } = fake.requests[0];
  assert.deepEqual([method, ...query], ["GET", ["model", "m"], ["truncate", "true"], ["input", "a&b"], ["input", "ü+?"], ["encoding_format", "base64"]]);
});

withServer("an answer that did not change is not sent again, and nobody can change what is kept", async ({ fake, brink }) => {
  const query = { model: "m", input: "a" };
  const first = await brink.embeddingsGet(query);
  first.vectors[0].fill(0);
  fake.instead.push((request, response) => {
    assert.match(request.headers["if-none-match"], /^W\/"/);
    response.writeHead(304).end();
  });
  assert.deepEqual((await brink.embeddingsGet(query)).vectors, [vector("a")]);
  // A changed answer takes the place of the kept one.
  fake.instead.push((_, response) => json(response, 200, { model: "new", data: [] }, { etag: '"2"' }));
  assert.equal((await brink.embeddingsGet(query)).model, "new");
  fake.instead.push((request, response) => response.writeHead(request.headers["if-none-match"] === '"2"' ? 304 : 500).end());
  assert.equal((await brink.embeddingsGet(query)).model, "new");
});

withServer("what is kept is bounded, and no-store is not kept", async ({ fake, brink }) => {
  const get = (input) => brink.embeddingsGet({ model: "m", input });
  for (let index = 0; index <= 64; index++) await get(`text ${index}`);
  await get("text 0");
  await get("text 64");
  assert.equal(fake.requests.at(-2).headers["if-none-match"], undefined);
  assert.notEqual(fake.requests.at(-1).headers["if-none-match"], undefined);

  fake.instead.push((_, response) => json(response, 200, { model: "m", data: [] }, { etag: '"1"', "cache-control": "no-store" }));
  await get("private");
  await get("private");
  assert.equal(fake.requests.at(-1).headers["if-none-match"], undefined);
});

withServer("where the browser keeps answers, this client sends no If-None-Match", async ({ fake, brink }) => {
  await brink.embeddingsGet({ model: "m", input: "a" });
  await brink.embeddingsGet({ model: "m", input: "a" });
  assert.equal(fake.requests[1].headers["if-none-match"], undefined);
}, { cache: "browser" });

withServer("classification takes JSON, bytes and blobs", async ({ fake, brink }) => {
  assert.equal((await brink.classify({ model: "m", input: "four" })).data[0].label, "text of 4");
  assert.equal((await brink.classify(new Uint8Array(3), { model: "m/x", topK: 2 })).data[0].label, "3 bytes");
  await brink.classify(new Blob(["x"], { type: "image/png" }), { model: "m" });
  await brink.classify(new Blob(["x"]).slice(), { model: "m", contentType: "image/webp" });
  const [, bytes, blob, said] = fake.requests;
  assert.equal(bytes.url, "/v1/classify?model=m%2Fx&top_k=2");
  assert.deepEqual([bytes, blob, said].map((request) => request.headers["content-type"]), ["application/octet-stream", "image/png", "image/webp"]);
});

withServer("whole answers of chat and completion", async ({ fake, brink }) => {
  const chat = await brink.chat({ ...CHAT, temperature: 0 });
  assert.deepEqual([chat.choices[0].message.content, chat.usage], [TEXT, USAGE]);
  const completion = await brink.completion({ model: "writer", prompt: "Once" });
  assert.equal(completion.choices[0].text, TEXT);
  assert.deepEqual(fake.requests.map((request) => request.path), ["/v1/chat/completions", "/v1/completions"]);
  assert.equal(fake.requests[0].json.temperature, 0);
});

test("settings that cannot be meant are refused by name, limit and value", () => {
  const check = (options, expected) => assert.throws(() => new Brink({ baseUrl: "http://edge", ...options }), expected);
  check({ baseUrl: "edge" }, /baseUrl is no address: "edge"/);
  check({ baseUrl: "ftp://edge" }, /http or https: "ftp:\/\/edge"/);
  check({ maxRetries: 11 }, /maxRetries is 11; it must be an integer from 0 to 10/);
  check({ maxResumes: -1 }, /maxResumes is -1/);
  check({ timeoutMs: 0 }, /timeoutMs is 0/);
  check({ idleMs: Number.NaN }, /idleMs is NaN/);
});
