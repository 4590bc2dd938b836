// The chat page in Chromium, as the product serves it.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { inBrowser, MODEL, openClient, product, withBrowser } from "./support.mjs";

withBrowser();

const LONG = "Tell a long story about a lighthouse and its keeper.";

async function open(page) {
  await page.goto(`${product()}/chat/?model=${encodeURIComponent(MODEL)}`);
  await page.waitForFunction((model) => document.getElementById("model").value === model, MODEL);
}

async function ask(page, text) {
  await page.getByLabel("Message").fill(text);
  await page.getByLabel("Message").press("Enter");
}

const answer = (page) => page.locator("#log li.assistant .text").last();
const status = (page, text) => page.getByRole("status").filter({ hasText: text }).waitFor();

inBrowser("a question is answered, and the conversation survives a reload", async (page) => {
  await open(page);
  await ask(page, "Say hello in one word.");
  await page.getByRole("button", { name: "Stop" }).waitFor();
  await status(page, /The answer is (complete|cut)/);
  const shown = await answer(page).textContent();
  assert.ok(shown.length > 0);
  assert.equal(await page.locator("#log li").count(), 2);
  assert.equal(await page.locator("[aria-busy]").count(), 0);
  await page.reload();
  assert.deepEqual(await page.locator("#log li .text").allTextContents(), ["Say hello in one word.", shown]);
  await page.getByRole("button", { name: "New conversation" }).click();
  assert.equal(await page.locator("#log li").count(), 0);
  await page.reload();
  assert.equal(await page.locator("#log li").count(), 0);
});

inBrowser("a reload in the middle of an answer goes on where it was", async (page) => {
  await open(page);
  await ask(page, LONG);
  await page.waitForFunction(() => document.querySelector("#log li.assistant .text")?.textContent.length > 40);
  const resumed = page.waitForRequest((request) => request.method() === "GET" && request.url().includes("/v1/streams/"));
  await page.reload();
  const cursor = Number(new URL((await resumed).url()).searchParams.get("cursor"));
  assert.ok(cursor >= 40, `it goes on at byte ${cursor}`);
  await page.waitForFunction((length) => document.querySelector("#log li.assistant .text")?.textContent.length > length, cursor + 40);
  const { id } = await page.evaluate(() => JSON.parse(sessionStorage.getItem("brink.chat.unfinished")));
  const shown = await answer(page).textContent();

  // What the server has of the same text, from its beginning.
  const other = await page.context().newPage();
  await openClient(other);
  const kept = await other.evaluate(async ({ id, least }) => {
    let text = "";
    const items = new globalThis.client.Brink({ baseUrl: "" }).resumeStream(id, 0)[Symbol.asyncIterator]();
    while (text.length < least) text += (await items.next()).value.text;
    return text;
  }, { id, least: shown.length });
  await other.close();
  assert.equal(shown, kept.slice(0, shown.length));
  await page.getByRole("button", { name: "Stop" }).click();
  await status(page, "The answer was stopped.");
});

inBrowser("the stop button and Escape stop an answer, and keep what there is", async (page) => {
  await open(page);
  for (const stop of [() => page.getByRole("button", { name: "Stop" }).click(), () => page.keyboard.press("Escape")]) {
    await ask(page, LONG);
    await page.locator("#log li.assistant[aria-busy] .text").filter({ hasText: /\w/ }).waitFor();
    const deleted = page.waitForRequest((request) => request.method() === "DELETE");
    await stop();
    await deleted;
    await status(page, "The answer was stopped.");
    assert.ok((await answer(page).textContent()).length > 0);
    assert.equal(await page.getByRole("button", { name: "Stop" }).isVisible(), false);
    assert.equal(await page.evaluate(() => sessionStorage.getItem("brink.chat.unfinished")), null);
  }
  assert.equal(await page.locator("#log li").count(), 4);
});

inBrowser("a new conversation ends the answer of the old one", async (page) => {
  await open(page);
  await ask(page, LONG);
  await page.locator("#log li.assistant .text").filter({ hasText: /\w/ }).waitFor();
  const deleted = page.waitForResponse((response) => response.request().method() === "DELETE");
  await page.getByRole("button", { name: "New conversation" }).click();
  await deleted;
  assert.equal(await page.locator("#log li").count(), 0);
  assert.equal(await page.evaluate(() => sessionStorage.getItem("brink.chat.messages")), "[]");
});

inBrowser("the page talks over a WebSocket where that is chosen", async (page) => {
  const sockets = [];
  page.on("websocket", (socket) => sockets.push(new URL(socket.url()).pathname));
  await open(page);
  await page.getByText("Settings").click();
  await page.getByLabel("Transport").selectOption("websocket");
  await ask(page, "Say hello in one word.");
  await status(page, /The answer is (complete|cut)/);
  assert.ok((await answer(page).textContent()).length > 0);
  assert.deepEqual(sockets, ["/v1/ws"]);
});

inBrowser("the page works with its policy, and is found without the slash", async (page) => {
  const response = await page.goto(`${product()}/chat`);
  assert.equal(response.url(), `${product()}/chat/`);
  assert.match(response.headers()["content-security-policy"], /default-src 'none'/);
  await page.getByRole("heading", { name: "Chat" }).waitFor();
});

inBrowser("axe finds nothing to mend, in light and in dark", async (page) => {
  const axe = await readFile(new URL("../node_modules/axe-core/axe.min.js", import.meta.url), "utf8");
  await open(page);
  await page.getByText("Settings").click();
  await ask(page, "Say hello in one word.");
  await status(page, /The answer is (complete|cut)/);
  for (const colorScheme of ["light", "dark"]) {
    await page.emulateMedia({ colorScheme });
    await page.evaluate(axe);
    const { violations } = await page.evaluate(() => globalThis.axe.run());
    assert.deepEqual(violations.map(({ id, nodes }) => [id, nodes.map(({ html }) => html)]), []);
  }
});
