// Errors, and what is tried again.

import assert from "node:assert/strict";
import { Brink, BrinkError } from "../dist/brink.js";
import { json } from "./fake.mjs";
import { failure, withServer } from "./support.mjs";

const fails = (status, headers = {}, body = { error: { message: "no", type: "x", param: "p", code: "c" } }) =>
  (_, response) => json(response, status, body, headers);

withServer("a refusal is told with all that the server says", async ({ fake, brink }) => {
  fake.instead.push(fails(404, { "x-request-id": "r-1" }, { error: { message: "no such model", type: "t", param: "model", code: "model_not_found" } }));
  const error = await failure(brink.models());
  assert.ok(error instanceof BrinkError);
  const { status, code, param, message, requestId, retryAfterMs } = error;
  assert.deepEqual({ status, code, param, message, requestId, retryAfterMs }, {
    status: 404, code: "model_not_found", param: "model", message: "no such model", requestId: "r-1", retryAfterMs: undefined,
  });
});

withServer("problem documents, bare texts and pages of proxies are errors too", async ({ fake, brink }) => {
  const check = async (body, expected) => {
    fake.instead.push((_, response) => response.writeHead(400).end(body));
    const { message, code, param } = await failure(brink.models());
    assert.deepEqual({ message, code, param }, { code: null, param: null, ...expected });
  };
  const problem = { type: "urn:brink:problem:invalid-request", title: "t", status: 400, detail: "x is wrong", errors: [{ field: "x" }] };
  await check(JSON.stringify(problem), { message: "x is wrong", code: "invalid-request", param: "x" });
  await check('{"error": "a tensor is missing"}', { message: "a tensor is missing" });
  await check("<h1>Bad gateway</h1>", { message: "<h1>Bad gateway</h1>" });
  await check("", { message: "the server answered with status 400" });
  await check("x".repeat(2000), { message: "x".repeat(500) });
});

withServer("what may pass is tried again, and what cannot is not", async ({ fake, brink }) => {
  for (const status of [408, 409, 429, 500, 503]) {
    fake.requests = [];
    fake.instead.push(fails(status));
    await brink.models();
    assert.equal(fake.requests.length, 2, `status ${status}`);
  }
  for (const status of [400, 401, 403, 404, 413, 422]) {
    fake.requests = [];
    fake.instead.push(fails(status));
    assert.equal((await failure(brink.models())).status, status);
    assert.equal(fake.requests.length, 1, `status ${status}`);
  }
});

withServer("the server says how long to wait; beyond 30 s it is not obeyed", async ({ fake, brink, timers }) => {
  const check = async (headers, expected) => {
    timers.waits = [];
    fake.instead.push(fails(503, headers));
    await brink.models();
    assert.deepEqual(timers.waits, [expected]);
  };
  await check({ "retry-after-ms": "1234", "retry-after": "9" }, 1234);
  await check({ "retry-after": "7" }, 7000);
  await check({ "retry-after": new Date(timers.time + 5000).toUTCString() }, 5000);
  await check({ "retry-after": new Date(timers.time - 5000).toUTCString() }, 0);
  await check({ "retry-after": "3600" }, 30_000);
  // Nonsense counts as nothing: the wait is the client's own, half of at most 500 ms.
  await check({ "retry-after-ms": "-1", "retry-after": "soon" }, 250);
});

withServer("without such a word the wait is drawn from a doubling range", async ({ fake, brink, timers }) => {
  fake.instead.push(...Array.from({ length: 7 }, () => fails(500)));
  await brink.models();
  assert.deepEqual(timers.waits, [250, 500, 1000, 2000, 4000, 4000, 4000]);
}, { maxRetries: 7 });

withServer("the last error is thrown when the tries are used up", async ({ fake, brink }) => {
  fake.instead.push(fails(503), fails(503), fails(429, { "retry-after-ms": "5" }));
  const error = await failure(brink.models());
  assert.deepEqual([error.status, error.retryAfterMs, fake.requests.length], [429, 5, 3]);
});

withServer("a connection that breaks is made again, also within an answer", async ({ fake, brink }) => {
  const broken = (_, response) => response.socket.destroy();
  const half = (_, response) => {
    response.writeHead(200, { "content-length": 100 });
    response.write("{", () => response.socket.destroy());
  };
  fake.instead.push(broken, half);
  assert.equal((await brink.models())[0].id, "writer");

  fake.instead.push(broken, half, broken);
  const error = await failure(brink.models());
  assert.deepEqual([error.status, error.code], [0, "connection_failed"]);
  assert.ok(error.cause instanceof Error);
});

withServer("maxRetries 0 tries nothing again", async ({ fake, brink }) => {
  fake.instead.push(fails(500));
  assert.equal((await failure(brink.models())).status, 500);
  assert.equal(fake.requests.length, 1);
}, { maxRetries: 0 });

withServer("an abort ends a request with the signal's reason, and closes its connection", async ({ fake, brink }) => {
  const controller = new AbortController();
  fake.instead.push(() => controller.abort(new Error("enough")));
  assert.equal((await failure(brink.models({ signal: controller.signal }))).message, "enough");
  await fake.requests[0].closed;
  assert.equal((await failure(brink.models({ signal: controller.signal }))).message, "enough");
  assert.equal(fake.requests.length, 1);
});

withServer("an abort ends the wait before another try", async ({ fake }) => {
  const controller = new AbortController();
  const timers = {
    // The wait begins, and the user has enough of it.
    after: (ms) => {
      if (ms === 20_000) queueMicrotask(() => controller.abort(new Error("enough")));
      return () => {};
    },
    now: () => 0,
    random: () => 0,
  };
  fake.instead.push(fails(503, { "retry-after": "20" }));
  const brink = new Brink({ baseUrl: fake.url, timers });
  assert.equal((await failure(brink.models({ signal: controller.signal }))).message, "enough");
  assert.equal(fake.requests.length, 1);
});

withServer("a server that says nothing is left after timeoutMs, and not asked again", async ({ fake, brink, timers }) => {
  fake.instead.push(() => timers.pass(310_000));
  const error = await failure(brink.models());
  assert.equal(error.code, "timeout");
  assert.match(error.message, /310000 ms \(timeoutMs\)/);
  assert.equal(fake.requests.length, 1);
  assert.equal(timers.limits.size, 0);
});
