// A server with the routes that the client uses, for what no real one does on demand: cutting connections at a byte,
// refusing, staying silent, closing sockets with a code. It answers what the tests put into its fields.

import { createHash } from "node:crypto";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { Peer } from "./websocket.mjs";

/** Pieces of every text; with characters of two, three and four bytes. */
export const PIECES = ["Grüße", " an", " die", " Welt: ", "日本", "語", " 🦀", "."];
export const TEXT = PIECES.join("");
export const USAGE = { prompt_tokens: 12, completion_tokens: PIECES.length, total_tokens: 12 + PIECES.length };

const ASSETS = new URL("../../../components/chat/assets/", import.meta.url);

export class Fake {
  /** Every request in order: `{ method, url, headers, body, ... }`; messages on sockets have the method `WS`. */
  requests = [];
  /** Answers that are given instead, one each, whatever the request: functions of request and response. */
  instead = [];
  /** For each connection of a stream in turn, after how many bytes of text it is cut. */
  cuts = [];
  /** Whether texts stop after their first piece until `release` is called. */
  held = false;
  /** Whether handshakes are refused. */
  refusesSockets = false;
  /** Sockets that are open, the latest last. */
  peers = [];
  /** What answers messages on sockets; the default is `speak`. */
  onMessage = (peer, message) => this.speak(peer, message);
  #streams = new Map();
  #waiting = [];
  #writing = new Set();
  #arrivals = [];
  #server = createServer((request, response) => this.#serve(request, response));

  static async listen() {
    const fake = new Fake();
    fake.#server.listen(0, "127.0.0.1");
    await once(fake.#server, "listening");
    fake.url = `http://127.0.0.1:${fake.#server.address().port}`;
    fake.#server.on("upgrade", (request, socket) => fake.#upgrade(request, socket));
    return fake;
  }

  async close() {
    for (const peer of this.peers) peer.destroy();
    this.release();
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, "close");
  }

  /** Lets held texts go on. */
  release() {
    this.held = false;
    for (const go of this.#waiting.splice(0)) go();
  }

  /** Cuts the connections of all texts. */
  cutNow() {
    for (const response of this.#writing) response.socket?.destroy();
  }

  /** Ends when a request that `matches` has come, or has come already. */
  async arrival(matches) {
    for (;;) {
      const found = this.requests.find(matches);
      if (found) return found;
      await new Promise((resolve) => this.#arrivals.push(resolve));
    }
  }

  #record(request) {
    this.requests.push(request);
    for (const arrived of this.#arrivals.splice(0)) arrived();
  }

  async #serve(request, response) {
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    const body = Buffer.concat(chunks);
    const { method, url, headers } = request;
    const url_ = new URL(url, this.url);
    const seen = { method, url, path: url_.pathname, query: url_.searchParams, headers, body };
    if (headers["content-type"] === "application/json") seen.json = JSON.parse(body);
    // When the client has gone: the test may wait for it.
    seen.closed = once(response, "close");
    this.#record(seen);
    const instead = this.instead.shift();
    if (instead) return instead(seen, response);
    await this.#route(seen, response);
  }

  #route(request, response) {
    const { method, path } = request;
    const stream = /^\/v1\/streams\/(.+)$/.exec(path);
    if (path === "/v1/embeddings") return embeddings(request, response);
    if (path === "/v1/models") return json(response, 200, { object: "list", data: [{ id: "writer", object: "model", created: 1, owned_by: "test" }] });
    if (path === "/v1/classify") return json(response, 200, classes(request));
    if (path === "/v1/chat/completions") return json(response, 200, whole({ message: { role: "assistant", content: TEXT } }));
    if (path.startsWith("/chat/")) return page(path, response);
    if (path === "/v1/completions") return json(response, 200, whole({ text: TEXT }));
    if (path === "/v1/streams" && method === "POST") return this.#write(this.#newStream(), 0, response);
    if (stream && method === "GET") return this.#resume(stream[1], request, response);
    if (stream && method === "DELETE") return this.#giveUp(stream[1], response);
    return json(response, 404, { error: { message: `no route ${path}`, type: "invalid_request_error", param: null, code: "not_found" } });
  }

  #newStream() {
    const id = `stream-${this.#streams.size + 1}`;
    this.#streams.set(id, true);
    return id;
  }

  #resume(id, request, response) {
    const cursor = request.headers["last-event-id"] ?? request.query.get("cursor");
    if (!this.#streams.has(id)) return notFound(response);
    if (cursor === "end") return response.writeHead(204).end();
    return this.#write(id, Number(cursor), response);
  }

  #giveUp(id, response) {
    if (!this.#streams.delete(id)) return notFound(response);
    response.writeHead(204).end();
  }

  async #write(id, cursor, response) {
    const cut = this.cuts.shift();
    this.#writing.add(response);
    response.once("close", () => this.#writing.delete(response));
    response.writeHead(200, { "content-type": "text/event-stream" });
    response.write(`event: open\ndata: {"id":"${id}"}\n\n`);
    response.write('event: start\nid: 0\ndata: {"model":"writer","prompt_tokens":12}\n\n: ping\n\n');
    let at = 0;
    for (const piece of PIECES) {
      const from = at;
      at += Buffer.byteLength(piece);
      if (at <= cursor) continue;
      if (cut !== undefined && at > cut) return cutOff(response);
      const rest = Buffer.from(piece).subarray(Math.max(0, cursor - from)).toString();
      await new Promise((written) => response.write(`id: ${at}\ndata: ${JSON.stringify({ t: rest })}\n\n`, written));
      if (this.held) await new Promise((go) => this.#waiting.push(go));
    }
    response.end(`event: end\nid: end\ndata: ${JSON.stringify({ finish_reason: "stop", usage: USAGE })}\n\n`);
  }

  #upgrade(request, socket) {
    const { url, headers } = request;
    this.#record({ method: "UPGRADE", url, headers });
    if (this.refusesSockets) return socket.end("HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n");
    const peer = Peer.accept(headers, socket, (text) => {
      const message = JSON.parse(text);
      this.#record({ method: "WS", json: message, peer });
      this.onMessage(peer, message);
    });
    this.peers.push(peer);
  }

  /** Answers a message as docs/websocket.md says. */
  async speak(peer, { id, op, path, body, cancel }) {
    if (cancel) return;
    if (op === "models") return peer.send({ id, status: 200, result: { object: "list", data: [{ id: "writer" }] } });
    if (op === "embeddings") return peer.send({ id, status: 200, result: vectors(body.model, [body.input].flat()) });
    if (!body.stream) {
      const choice = op === "chat" ? { message: { role: "assistant", content: TEXT } } : { text: TEXT };
      return peer.send({ id, status: 200, result: { path, ...whole(choice) } });
    }
    for (const [index, piece] of PIECES.entries()) {
      peer.send(index === 0 ? { id, t: piece } : { t: piece });
      if (this.held) await new Promise((go) => this.#waiting.push(go));
    }
    peer.send({ id, done: { finish_reason: "stop", usage: USAGE } });
  }
}

export function json(response, status, value, headers = {}) {
  const body = JSON.stringify(value);
  response.writeHead(status, { "content-type": "application/json", "content-length": Buffer.byteLength(body), ...headers }).end(body);
}

/** The chat page as it is committed. */
async function page(path, response) {
  const name = path === "/chat/" ? "index.html" : path.slice("/chat/".length);
  const type = { html: "text/html", css: "text/css", js: "text/javascript" }[name.split(".").pop()];
  response.writeHead(200, { "content-type": type }).end(await readFile(new URL(name, ASSETS)));
}

/** The connection ends in the middle of a chunk, as if a proxy had died. */
export function cutOff(response) {
  response.write("id: 1\ndata: {\"t\":\"never to be se", () => response.socket.destroy());
}

function notFound(response) {
  json(response, 404, { error: { message: "there is no such stream", type: "invalid_request_error", param: null, code: "stream_not_found" } });
}

/** Three numbers that a text determines. */
export function vector(text) {
  return Float32Array.of(text.length, 0.1, -1 / 3);
}

function vectors(model, inputs) {
  const data = inputs.map((input, index) => {
    const floats = vector(input);
    const bytes = Buffer.alloc(floats.length * 4);
    floats.forEach((float, place) => bytes.writeFloatLE(float, place * 4));
    return { object: "embedding", index, embedding: bytes.toString("base64") };
  });
  // In another order than the inputs: the index says where each belongs.
  return { object: "list", model, data: data.reverse(), usage: { prompt_tokens: 3, total_tokens: 3 } };
}

function embeddings(request, response) {
  const { query, json: body } = request;
  if (body) return json(response, 200, vectors(body.model, [body.input].flat()));
  const value = vectors(query.get("model"), query.getAll("input"));
  const etag = `W/"${createHash("sha256").update(JSON.stringify(value)).digest("hex").slice(0, 16)}"`;
  const headers = { etag, "cache-control": "private, max-age=60", vary: "authorization" };
  if (request.headers["if-none-match"] === etag) return response.writeHead(304, headers).end();
  json(response, 200, value, headers);
}

function classes({ json: body, query, body: bytes }) {
  const label = body ? `text of ${body.input.length}` : `${bytes.length} bytes`;
  const model = body?.model ?? query.get("model");
  return { object: "list", model, data: [{ object: "classification", index: 0, label, score: 1, top: [] }], usage: {} };
}

function whole(choice) {
  return { id: "c1", model: "writer", choices: [{ index: 0, ...choice, finish_reason: "stop" }], usage: USAGE };
}
