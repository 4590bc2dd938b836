// Client and page in Chromium while connections break, which no product does on demand.

import assert from "node:assert/strict";
import { Fake, json, PIECES, TEXT } from "../test/fake.mjs";
import { inBrowser, openClient, withBrowser } from "./support.mjs";

withBrowser();

/** A test with a server of its own. */
function withCuts(name, body) {
  inBrowser(name, async (page) => {
    const fake = await Fake.listen();
    try {
      await body(page, fake);
    } finally {
      await fake.close();
    }
  });
}

withCuts("a text whose connection is cut after every piece comes whole", async (page, fake) => {
  await openClient(page, fake.url);
  // Each connection brings one piece, and is cut once that has arrived: what a cut overtakes, a browser drops.
  fake.held = true;
  await page.exposeFunction("arrived", () => fake.cutNow());
  const { text, cursors } = await page.evaluate(async () => {
    const brink = new globalThis.client.Brink({ baseUrl: "" });
    const stream = brink.chatStream({ model: "writer", messages: [{ role: "user", content: "Hi" }] });
    let text = "";
    const cursors = [];
    for await (const item of stream) {
      if (item.text === undefined) break;
      text += item.text;
      cursors.push(item.cursor);
      await globalThis.arrived();
    }
    return { text, cursors };
  });
  assert.equal(text, TEXT);
  assert.deepEqual(cursors, PIECES.map((_, index) => Buffer.byteLength(PIECES.slice(0, index + 1).join(""))));
  const asked = fake.requests.filter(({ path }) => path.startsWith("/v1/streams"));
  assert.deepEqual(asked.map(({ method }) => method), ["POST", ...PIECES.map(() => "GET")]);
});

withCuts("an answer that was lost is gone on with on request, and after a reload", async (page, fake) => {
  await page.goto(`${fake.url}/chat/`);
  await page.waitForFunction(() => document.getElementById("model").value === "writer");
  const refuse = (_, response) => json(response, 503, { error: { message: "away" } }, { "retry-after-ms": "0" });
  const shown = page.locator("li.assistant .text");
  fake.held = true;
  await page.getByLabel("Message").fill("Hi");
  await page.getByRole("button", { name: "Send" }).click();
  await shown.filter({ hasText: PIECES[0] }).waitFor();
  // The connection is cut, and then all tries to go on are refused.
  fake.instead = Array.from({ length: 5 }, () => refuse);
  fake.cutNow();
  const goOn = page.getByRole("button", { name: "Continue" });
  await goOn.waitFor();
  assert.match(await page.getByRole("status").textContent(), /connection was lost/);
  assert.deepEqual([await shown.textContent(), fake.instead.length], [PIECES[0], 0]);

  fake.instead = Array.from({ length: 6 }, () => refuse);
  await goOn.click();
  await goOn.waitFor();
  assert.deepEqual([await shown.textContent(), fake.instead.length], [PIECES[0], 0]);

  fake.release();
  await page.reload();
  await page.getByRole("status").filter({ hasText: "complete" }).waitFor();
  assert.equal(await shown.textContent(), TEXT);
  assert.equal(await goOn.isVisible(), false);
  assert.equal(await page.locator("li").count(), 2);
});
