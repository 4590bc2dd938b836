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

withCuts("a text whose connection is cut again and again comes whole", async (page, fake) => {
  await openClient(page, fake.url);
  fake.cuts = [0, 8, 8, 20, 30];
  const { text, cursors } = await page.evaluate(async () => {
    const brink = new globalThis.client.Brink({ baseUrl: "" });
    const stream = brink.chatStream({ model: "writer", messages: [{ role: "user", content: "Hi" }] });
    let text = "";
    const cursors = [];
    for await (const item of stream) {
      text += item.text ?? "";
      if (item.cursor) cursors.push(item.cursor);
    }
    return { text, cursors };
  });
  assert.equal(text, TEXT);
  assert.equal(cursors.length, PIECES.length);
  assert.equal(fake.requests.filter(({ path }) => path.startsWith("/v1/streams")).length, 6);
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
