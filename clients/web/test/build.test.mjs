// What is built: its size, and whether the committed files of the chat page are it.

import assert from "node:assert/strict";
import { readdir, readFile } from "node:fs/promises";
import { test } from "node:test";
import { gzipSync } from "node:zlib";
import { chatAssets } from "../build.mjs";

const CLIENT_LIMIT = 10_000;
const ASSETS = new URL("../../../components/chat/assets/", import.meta.url);

test("the client is below 10 kB gzip", async (context) => {
  const client = await readFile(new URL("../dist/brink.js", import.meta.url));
  const size = gzipSync(client, { level: 9 }).length;
  context.diagnostic(`${client.length} bytes, ${size} gzip`);
  assert.ok(size < CLIENT_LIMIT, `${size} bytes`);
});

test("the committed chat page is what the sources build to", async () => {
  const built = await chatAssets();
  assert.deepEqual((await readdir(ASSETS)).sort(), [...built.keys()].sort());
  for (const [name, bytes] of built) {
    const committed = await readFile(new URL(name, ASSETS));
    assert.ok(bytes.equals(committed), `components/chat/assets/${name} is not up to date: npm run assets`);
  }
});

test("the page has no script and no style of its own, so that a strict policy lets it work", async () => {
  const page = (await readFile(new URL("index.html", ASSETS))).toString();
  assert.doesNotMatch(page, /<style|\sstyle=|\son\w+=|javascript:|https?:/i);
  assert.deepEqual(page.match(/<script\b[^>]*>/g), ['<script type="module" src="chat.js">']);
});
