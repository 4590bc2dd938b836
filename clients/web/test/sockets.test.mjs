// The protocol of /v1/ws, over real sockets.

import assert from "node:assert/strict";
import { Brink } from "../dist/brink.js";
import { PIECES, TEXT, USAGE, vector } from "./fake.mjs";
import { CHAT, failure, read, withServer } from "./support.mjs";

const SOCKET = { transport: "websocket" };
const upgrades = (fake) => fake.requests.filter(({ method }) => method === "UPGRADE").length;

withServer("all requests share one socket, and each gets its own answer", async ({ fake, brink }) => {
  const [models, { vectors }, chat, completion, stream] = await Promise.all([
    brink.models(),
    brink.embeddings({ model: "m", input: ["a", "bc"] }),
    brink.chat(CHAT),
    brink.completion({ model: "writer", prompt: "Once" }),
    read(brink.chatStream(CHAT)),
  ]);
  assert.equal(models[0].id, "writer");
  assert.deepEqual(vectors, [vector("a"), vector("bc")]);
  assert.equal(chat.choices[0].message.content, TEXT);
  assert.deepEqual([completion.path, completion.choices[0].text], ["/v1/completions", TEXT]);
  assert.deepEqual([stream.text, stream.end, stream.pieces.at(-1).cursor], [TEXT, { finishReason: "stop", usage: USAGE }, Buffer.byteLength(TEXT)]);
  assert.equal(upgrades(fake), 1);
  const sent = fake.requests.filter(({ method }) => method === "WS").map(({ json }) => json);
  assert.equal(new Set(sent.map(({ id }) => id)).size, 5);
  assert.deepEqual(sent.at(-1).body, { ...CHAT, stream: true });
}, SOCKET);

withServer("bytes and GET for the browser's cache go over HTTP", async ({ fake, brink }) => {
  await brink.classify(new Uint8Array(2), { model: "m" });
  await brink.embeddingsGet({ model: "m", input: "a" });
  assert.equal(upgrades(fake), 0);
}, SOCKET);

withServer("the key goes as a subprotocol, or the socket is not opened", async ({ fake }) => {
  const brink = new Brink({ baseUrl: fake.url, apiKey: "k-1", ...SOCKET });
  await brink.models();
  assert.deepEqual(fake.peers[0].protocols, ["brink.v1", "bearer.k-1"]);
  brink.close();
  await fake.peers[0].gone;
  const error = await failure(new Brink({ baseUrl: fake.url, apiKey: "k/1=", ...SOCKET }).models());
  assert.deepEqual([error.code, error.param], ["invalid_api_key", "apiKey"]);
}, SOCKET);

withServer("text without an id continues the text before it, whatever came between", async ({ fake, brink }) => {
  const both = [];
  fake.onMessage = (peer, { id }) => {
    both.push(id);
    if (both.length < 2) return;
    const [one, two] = both;
    const chunk = { choices: [{ delta: { content: "E" }, logprobs: {} }] };
    peer.send({ id: one, t: "a" });
    peer.send({ t: "b" });
    peer.send({ id: two, t: "X" });
    peer.send({ id: one, event: chunk });
    peer.send({ t: "Y" });
    peer.send({ id: one, done: { finish_reason: "length" } });
    peer.send({ t: "Z" });
    peer.send({ id: two, done: { finish_reason: "stop" } });
  };
  const [one, two] = await Promise.all([read(brink.chatStream(CHAT)), read(brink.chatStream(CHAT))]);
  assert.deepEqual([one.text, one.end.finishReason], ["abE", "length"]);
  assert.deepEqual([two.text, two.end.finishReason], ["XYZ", "stop"]);
}, SOCKET);

withServer("a reader that is slow gets what came meanwhile as one text", async ({ fake, brink }) => {
  const items = brink.chatStream(CHAT)[Symbol.asyncIterator]();
  fake.held = true;
  const first = await items.next();
  fake.release();
  // An answer on the same socket comes after all of the text.
  await brink.models();
  await fake.arrival(({ json }) => json?.op === "models");
  const rest = [];
  for await (const item of items) rest.push(item);
  assert.equal(first.value.text + rest.filter(({ text }) => text).map(({ text }) => text).join(""), TEXT);
  assert.ok(rest.length <= 3, `${rest.length} items`);
}, SOCKET);

withServer("an abort and an early end cancel the request, and leave the socket open", async ({ fake, brink }) => {
  fake.held = true;
  const controller = new AbortController();
  const error = await failure((async () => {
    for await (const { text } of brink.chatStream(CHAT, { signal: controller.signal })) {
      assert.equal(text, PIECES[0]);
      controller.abort(new Error("stop"));
    }
  })());
  assert.equal(error.message, "stop");
  assert.deepEqual((await fake.arrival(({ json }) => json?.cancel)).json, { id: "1", cancel: true });
  for await (const { text } of brink.chatStream(CHAT)) {
    assert.equal(text, PIECES[0]);
    break;
  }
  await fake.arrival(({ json }) => json?.cancel && json.id === "2");
  // Text that still comes for the cancelled ones disturbs nobody.
  fake.release();
  assert.equal((await read(brink.chatStream(CHAT))).text, TEXT);
  assert.equal(upgrades(fake), 1);
}, SOCKET);

withServer("an abort while the socket opens ends that request alone", async ({ fake, brink }) => {
  const controller = new AbortController();
  const aborted = failure(brink.models({ signal: controller.signal }));
  const other = brink.models();
  controller.abort(new Error("stop"));
  assert.equal((await aborted).message, "stop");
  assert.equal((await other)[0].id, "writer");
  assert.equal(upgrades(fake), 1);
}, SOCKET);

withServer("refusals carry status and wait, and are tried again like those of HTTP", async ({ fake, brink, timers }) => {
  const answers = [
    { status: 429, retry_after_ms: 70, error: { message: "slow", code: "too_many_requests" } },
    { status: 400, error: { message: "no", param: "messages", code: "c" } },
  ];
  fake.onMessage = (peer, { id }) => peer.send({ id, ...answers.shift() });
  const error = await failure(brink.chat(CHAT));
  assert.deepEqual([error.status, error.param, error.code, timers.waits], [400, "messages", "c", [70]]);
}, SOCKET);

withServer("1001 and draining open another socket at once", async ({ fake, brink, timers }) => {
  const answers = [
    (peer) => peer.close(1001),
    (peer, { id }) => peer.send({ id, status: 503, error: { message: "draining", code: "draining" } }),
  ];
  fake.onMessage = (peer, message) => (answers.shift() ?? fake.speak.bind(fake))(peer, message);
  assert.equal((await read(brink.chatStream(CHAT))).text, TEXT);
  assert.deepEqual([upgrades(fake), timers.waits], [3, [0, 0]]);
}, SOCKET);

withServer("a socket that closed between two requests is opened again", async ({ fake, brink }) => {
  await brink.models();
  fake.peers[0].close(1001);
  await fake.peers[0].gone;
  await brink.models();
  assert.equal(upgrades(fake), 2);
}, SOCKET);

withServer("what each closing code means for a request", async ({ fake, brink }) => {
  const check = async (code, expected, requests) => {
    fake.requests = [];
    fake.onMessage = (peer) => (code ? peer.close(code) : peer.destroy());
    assert.equal((await failure(brink.models())).code, expected, String(code));
    assert.equal(upgrades(fake), requests, String(code));
  };
  await check(4008, "too_slow", 1);
  await check(1008, "protocol_error", 1);
  await check(1009, "message_too_large", 1);
  await check(1011, "connection_failed", 3);
  await check(undefined, "connection_failed", 3);
}, SOCKET);

withServer("text that has begun is not begun again", async ({ fake, brink }) => {
  fake.onMessage = (peer, { id }) => {
    peer.send({ id, t: "so far" });
    peer.destroy();
  };
  const seen = [];
  const error = await failure((async () => {
    for await (const { text } of brink.chatStream(CHAT)) seen.push(text);
  })());
  assert.deepEqual([error.code, seen, upgrades(fake)], ["connection_failed", ["so far"], 1]);
}, SOCKET);

withServer("an error within a text follows the text, and has no status", async ({ fake, brink }) => {
  fake.onMessage = (peer, { id }) => {
    peer.send({ id, t: "so far" });
    peer.send({ id, error: { message: "broke off", code: "answer_cut" } });
  };
  const error = await failure(read(brink.chatStream(CHAT)));
  assert.deepEqual([error.status, error.code], [0, "answer_cut"]);
}, SOCKET);

withServer("a host that cannot read a message, or writes none, fails what is under way", async ({ fake, brink }) => {
  fake.onMessage = (peer) => peer.send({ id: null, status: 400, error: { message: "what?", code: "invalid_message" } });
  assert.equal((await failure(brink.models())).code, "invalid_message");
  fake.onMessage = (peer) => peer.send("nonsense");
  assert.equal((await failure(brink.models())).code, "answer_unusable");
}, SOCKET);

withServer("a host that says nothing is left after timeoutMs, with a word", async ({ fake, brink, timers }) => {
  fake.onMessage = (_, { cancel }) => cancel || timers.pass(310_000);
  assert.equal((await failure(brink.models())).code, "timeout");
  await fake.arrival(({ json }) => json?.cancel);
  assert.equal(timers.limits.size, 0);
}, SOCKET);

withServer("where no socket opens, the request fails after its tries; later ones try again", async ({ fake, brink, timers }) => {
  fake.refusesSockets = true;
  const error = await failure(brink.models());
  assert.equal(error.code, "connection_failed");
  assert.match(error.message, /no WebSocket at http:.*\/v1\/ws/);
  assert.deepEqual([upgrades(fake), timers.waits], [3, [250, 500]]);
  fake.refusesSockets = false;
  await brink.models();
}, SOCKET);
