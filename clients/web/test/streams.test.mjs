// Text over server-sent events: the wire form, and what survives a broken connection.

import assert from "node:assert/strict";
import { BrinkError, perFrame } from "../dist/brink.js";
import { json, PIECES, TEXT, USAGE } from "./fake.mjs";
import { CHAT, failure, read, withServer } from "./support.mjs";

/** Answers with these bytes, each part in a chunk of its own. */
const raw = (...parts) => async (_, response) => {
  response.writeHead(200, { "content-type": "text/event-stream; charset=utf-8" });
  for (const part of parts) await new Promise((written) => response.write(part, written));
  response.end();
};

const END = 'event: end\nid: end\ndata: {"finish_reason":"stop"}\n\n';

withServer("text comes in pieces, with its cursor, and ends with reason and usage", async ({ fake, brink }) => {
  const stream = brink.chatStream(CHAT);
  assert.equal(fake.requests.length, 0);
  const { text, pieces, end } = await read(stream);
  assert.deepEqual([text, pieces.length, end], [TEXT, PIECES.length, { finishReason: "stop", usage: USAGE }]);
  assert.equal(pieces[0].cursor, Buffer.byteLength(PIECES[0]));
  assert.equal(pieces.at(-1).cursor, Buffer.byteLength(TEXT));
  assert.deepEqual([stream.id, stream.cursor, stream.model, stream.promptTokens], ["stream-1", "end", "writer", 12]);
  const [{ method, path, json: body }] = fake.requests;
  assert.deepEqual([method, path, body], ["POST", "/v1/streams", CHAT]);
  assert.equal(fake.requests.length, 1);
});

withServer("a prompt is streamed too; several texts are refused", async ({ fake, brink }) => {
  await read(brink.chatStream({ model: "writer", prompt: "Once" }));
  assert.deepEqual(fake.requests[0].json, { model: "writer", prompt: "Once" });
  assert.throws(() => brink.chatStream({ ...CHAT, n: 2 }), /n is above 1/);
});

withServer("the bytes may be cut anywhere, and lines may end in any way", async ({ fake, brink }) => {
  for (const newline of ["\n", "\r\n", "\r"]) {
    const lines = ["\ufeff: ping", 'event: open\ndata: {"id":"s"}\n', "id: 6", 'data: {"t":', 'data: "日本"}', "", ": ping", "", "retry: 1", "ignored", 'data: {"t":"🦀"}', "", END];
    const bytes = Buffer.from(lines.join("\n").replaceAll("\n", newline));
    fake.instead.push(raw(...Array.from(bytes, (byte) => Buffer.of(byte))));
    const { text, pieces, end } = await read(brink.chatStream(CHAT));
    assert.deepEqual([text, pieces.map((piece) => piece.cursor), end.finishReason], ["日本🦀", [6, 10], "stop"], JSON.stringify(newline));
  }
});

withServer("a text that is cut anywhere goes on without a gap or a repetition", async ({ fake, brink, timers }) => {
  for (let cut = 0; cut < Buffer.byteLength(TEXT); cut++) {
    fake.cuts = [cut];
    fake.requests = [];
    const { text, end } = await read(brink.chatStream(CHAT));
    assert.deepEqual([text, end.finishReason], [TEXT, "stop"], `cut at ${cut}`);
    assert.equal(fake.requests.length, 2);
    const [, { method, path, query }] = fake.requests;
    assert.deepEqual([method, path.startsWith("/v1/streams/stream-")], ["GET", true]);
    assert.ok(Number(query.get("cursor")) <= cut);
  }
  assert.ok(timers.waits.every((ms) => ms === 250), String(timers.waits));
});

withServer("the tries begin anew with each piece of text", async ({ fake, brink }) => {
  fake.cuts = PIECES.map((_, index) => Buffer.byteLength(PIECES.slice(0, index + 1).join("")));
  assert.equal((await read(brink.chatStream(CHAT))).text, TEXT);
  assert.equal(fake.requests.length, PIECES.length);
}, { maxResumes: 1 });

withServer("tries that bring no text are bounded, and leave the text for later", async ({ fake, brink }) => {
  fake.cuts = [8, 8, 8, 8];
  const stream = brink.chatStream(CHAT);
  const seen = [];
  const error = await failure((async () => {
    for await (const { text } of stream) seen.push(text);
  })());
  assert.deepEqual([error.code, seen, fake.requests.length], ["connection_failed", ["Grüße"], 3]);
  // It was not given up: somebody may come back to it.
  assert.equal(fake.requests.some(({ method }) => method === "DELETE"), false);
  fake.cuts = [];
  const rest = await read(brink.resumeStream(stream.id, stream.cursor));
  assert.equal(seen.join("") + rest.text, TEXT);
}, { maxResumes: 2 });

withServer("resume: false tells that the text broke off", async ({ fake, brink }) => {
  fake.cuts = [8];
  const error = await failure(read(brink.chatStream(CHAT, { resume: false })));
  assert.equal(error.code, "connection_failed");
  assert.equal(fake.requests.length, 1);
});

withServer("refusals before the text are tried again as those of any request", async ({ fake, brink, timers }) => {
  fake.instead.push((_, response) => json(response, 429, { error: { message: "slow down" } }, { "retry-after-ms": "77" }));
  assert.equal((await read(brink.chatStream(CHAT))).text, TEXT);
  assert.deepEqual(timers.waits, [77]);
  fake.instead.push((_, response) => json(response, 400, { error: { message: "no", param: "messages", code: "c" } }));
  assert.equal((await failure(read(brink.chatStream(CHAT)))).param, "messages");
});

withServer("pieces that are known already are left out or cut, and a gap is asked for", async ({ fake, brink }) => {
  const piece = (id, text) => `id: ${id}\ndata: ${JSON.stringify({ t: text })}\n\n`;
  const open = 'event: open\ndata: {"id":"s"}\n\n';
  fake.instead.push(raw(open, piece(3, "日"), piece(3, "日"), piece(6, "日本"), piece(12, "!")));
  fake.instead.push(raw(open, piece(9, "語"), piece(10, "!"), END));
  const { pieces } = await read(brink.chatStream(CHAT));
  assert.deepEqual(pieces.map(({ text, cursor }) => [text, cursor]), [["日", 3], ["本", 6], ["語", 9], ["!", 10]]);
  assert.equal(fake.requests[1].url, "/v1/streams/s?cursor=6");
});

withServer("a stored text has no id: when it is cut it is asked for again, and what is known is left out", async ({ fake, brink }) => {
  const open = 'event: open\ndata: {"id":null}\n\n';
  fake.instead.push(raw(open, 'id: 3\ndata: {"t":"日"}\n\n'));
  fake.instead.push(raw(open, 'id: 6\ndata: {"t":"日本"}\n\n', END));
  const { pieces } = await read(brink.chatStream(CHAT));
  assert.deepEqual(pieces.map(({ text, cursor }) => [text, cursor]), [["日", 3], ["本", 6]]);
  assert.deepEqual(fake.requests.map(({ method, url }) => [method, url]), [["POST", "/v1/streams"], ["POST", "/v1/streams"]]);
});

withServer("an error within a stream is thrown as it is told, after the text before it", async ({ fake, brink }) => {
  fake.instead.push(raw('data: {"t":"so far"}\n\n', 'event: error\ndata: {"error":{"message":"out of time","type":"server_error","param":null,"code":"deadline"}}\n\n'));
  const seen = [];
  const error = await failure(perFrame(brink.chatStream(CHAT), ({ text }) => seen.push(text)));
  assert.ok(error instanceof BrinkError);
  assert.deepEqual([error.status, error.code, error.message, seen.join("")], [0, "deadline", "out of time", "so far"]);
  assert.equal(fake.requests.length, 1);
});

withServer("answers that are no such stream are refused and not repeated", async ({ fake, brink }) => {
  const check = async (answer, expected) => {
    fake.requests = [];
    fake.instead.push(answer);
    const error = await failure(read(brink.chatStream(CHAT)));
    assert.equal(error.code, "answer_unusable");
    assert.match(error.message, expected);
    assert.equal(fake.requests.length, 1);
  };
  await check((_, response) => json(response, 200, {}), /application\/json/);
  await check(raw("data: {\n\n"), /no JSON/);
  await check(raw("data: []\n\n"), /no object/);
  await check(raw("data: {}\n\n"), /no text/);
  await check(raw('id: x\ndata: {"t":"a"}\n\n'), /no number/);
  await check(raw('event: open\ndata: {"id":""}\n\n'), /1 to 256 characters/);
  await check(raw(`data: ${"x".repeat(1 << 20)}`, "x"), /more than 1048576 characters/);
});

withServer("a stream that falls silent is left after idleMs, and resumed", async ({ fake, brink, timers }) => {
  fake.instead.push((_, response) => {
    response.writeHead(200, { "content-type": "text/event-stream" });
    response.write('event: open\ndata: {"id":"s"}\n\n: ping\n\nid: 7\ndata: {"t":"Grüße"}\n\n');
  });
  const stream = brink.chatStream(CHAT);
  const items = stream[Symbol.asyncIterator]();
  const first = await items.next();
  assert.deepEqual(first.value, { text: "Grüße", cursor: 7 });
  fake.instead.push((request, response) => {
    assert.equal(request.url, "/v1/streams/s?cursor=7");
    return raw(`id: 8\ndata: {"t":"!"}\n\n${END}`)(request, response);
  });
  const next = items.next();
  timers.pass(45_000);
  assert.deepEqual((await next).value, { text: "!", cursor: 8 });
  await fake.requests[0].closed;
});

withServer("an abort tells the server to stop writing", async ({ fake, brink }) => {
  fake.held = true;
  const controller = new AbortController();
  const seen = [];
  const error = await failure((async () => {
    for await (const { text } of brink.chatStream(CHAT, { signal: controller.signal })) {
      seen.push(text);
      controller.abort(new Error("stop"));
    }
  })());
  assert.deepEqual([error.message, seen], ["stop", ["Grüße"]]);
  assert.equal((await fake.arrival(({ method }) => method === "DELETE")).url, "/v1/streams/stream-1");
  await fake.requests[0].closed;
});

withServer("leaving the loop early does so too", async ({ fake, brink }) => {
  fake.held = true;
  for await (const { text } of brink.chatStream(CHAT)) {
    assert.equal(text, "Grüße");
    break;
  }
  await fake.arrival(({ method }) => method === "DELETE");
  await fake.requests[0].closed;
});

withServer("reading to the end gives nothing up, and leaves no timer", async ({ fake, brink, timers }) => {
  await read(brink.chatStream(CHAT));
  await brink.models();
  assert.deepEqual(fake.requests.map(({ method }) => method), ["POST", "GET"]);
  assert.equal(timers.limits.size, 0);
});

withServer("a reader that comes back gets the rest; one that is done nothing; one that is late an error", async ({ fake, brink }) => {
  await read(brink.chatStream(CHAT));
  const cursor = Buffer.byteLength(PIECES.slice(0, 3).join(""));
  assert.equal((await read(brink.resumeStream("stream-1", cursor))).text, PIECES.slice(3).join(""));
  fake.requests = [];
  assert.deepEqual(await read(brink.resumeStream("stream-1", "end")), { text: "", pieces: [], end: undefined });
  assert.equal(fake.requests.length, 0);
  const error = await failure(read(brink.resumeStream("nobody's", 0)));
  assert.deepEqual([error.status, error.code], [404, "stream_not_found"]);
  assert.equal(fake.requests[0].url, "/v1/streams/nobody's?cursor=0");
});

withServer("a server that has nothing after the cursor ends the text", async ({ fake, brink }) => {
  fake.instead.push((_, response) => response.writeHead(204).end());
  assert.equal((await read(brink.resumeStream("s", 5))).text, "");
});
