// Builds the client into dist/, and the chat page with it into the folder of the component that serves it.
//
//   node build.mjs            dist/
//   node build.mjs --assets   dist/ and components/chat/assets/

import { mkdir, readFile, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));

const common = {
  absWorkingDir: here("."),
  bundle: true,
  format: "esm",
  target: "es2022",
  minify: true,
  charset: "utf8",
  legalComments: "none",
  banner: { js: "// SPDX-License-Identifier: Apache-2.0" },
  write: false,
};

/** The files of the chat page, by name. The committed ones are these, byte for byte (`npm test` compares). */
export async function chatAssets() {
  const client = await bundle({ entryPoints: ["src/index.ts"] });
  // The page asks for the client as a file of its own, so that both are cached by themselves.
  const page = await bundle({ entryPoints: ["page/chat.ts"], external: ["./brink.js"] });
  return new Map([
    ["brink.js", client],
    ["chat.js", page],
    ["chat.css", await readFile(here("page/chat.css"))],
    ["index.html", await readFile(here("page/index.html"))],
  ]);
}

async function bundle(options) {
  const { outputFiles } = await build({ ...common, ...options });
  return Buffer.from(outputFiles[0].contents);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const assets = await chatAssets();
  await write(here("dist/"), [["brink.js", assets.get("brink.js")]]);
  if (process.argv.includes("--assets")) await write(here("../../components/chat/assets/"), assets);
}

async function write(folder, files) {
  await mkdir(folder, { recursive: true });
  for (const [name, bytes] of files) await writeFile(folder + name, bytes);
}
