// Runs `node --test` on the files that are named, with WebSockets also where Node.js has them only on request (20, 21).

import { spawnSync } from "node:child_process";

const sockets = typeof WebSocket === "undefined" ? ["--experimental-websocket"] : [];
const { status } = spawnSync(process.execPath, [...sockets, "--test", ...process.argv.slice(2)], { stdio: "inherit" });
process.exitCode = status ?? 1;
