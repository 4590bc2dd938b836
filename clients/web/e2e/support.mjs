// A browser, and pages of the product in it.

import { readFile } from "node:fs/promises";
import { after, before, test } from "node:test";
import { chromium } from "playwright-core";

export const MODEL = process.env.BRINK_MODEL ?? "smollm2-135m-instruct";
export const EMBEDDINGS = process.env.BRINK_EMBEDDING_MODEL ?? "all-MiniLM-L6-v2";
const CHROMIUM = process.env.CHROMIUM ?? "/usr/bin/chromium";

/** The address of the product under test. */
export function product() {
  const url = process.env.BRINK_URL?.replace(/\/+$/, "");
  if (!url) throw new Error("BRINK_URL is not set: the address of a running edge, such as http://127.0.0.1:3000");
  return url;
}

let browser;

/** One browser for the tests of a file. */
export function withBrowser() {
  before(async () => {
    // No sandbox: in a container, and as root, Chromium cannot make one.
    browser = await chromium.launch({ executablePath: CHROMIUM, args: ["--no-sandbox"] });
  });
  after(() => browser?.close());
}

/** A test with a fresh profile; what a page complains about fails it. */
export function inBrowser(name, body) {
  test(name, { timeout: 120_000 }, async () => {
    const context = await browser.newContext();
    const page = await context.newPage();
    const complaints = [];
    page.on("pageerror", (error) => complaints.push(String(error)));
    page.on("console", (message) => {
      // Not statuses: tests that ask for a 404 look at it themselves, and nobody serves a favicon.
      const counts = message.type() === "error" && !message.text().startsWith("Failed to load resource");
      if (counts) complaints.push(message.text());
    });
    try {
      await body(page);
    } finally {
      await context.close();
    }
    if (complaints.length > 0) throw new Error(`the page complained: ${complaints.join("\n")}`);
  });
}

/** Opens an address of the origin that is no page, and loads the client into it as `client`. */
export async function openClient(page, origin = product()) {
  await page.goto(`${origin}/v1/models`);
  const source = await readFile(new URL("../dist/brink.js", import.meta.url), "base64");
  await page.evaluate(async (source) => {
    globalThis.client = await import(`data:text/javascript;base64,${source}`);
  }, source);
}
