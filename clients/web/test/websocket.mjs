// The server's side of a WebSocket (RFC 6455): text messages of one frame, closing, and no more. For tests.

import { createHash } from "node:crypto";

const GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
const TEXT = 1;
const CLOSE = 8;
const PING = 9;

export class Peer {
  #socket;
  #onText;
  #rest = Buffer.alloc(0);
  /** What the client offered, and how it closed. */
  protocols;
  closeCode;

  static accept(headers, socket, onText) {
    const accept = createHash("sha1").update(headers["sec-websocket-key"] + GUID).digest("base64");
    const protocols = (headers["sec-websocket-protocol"] ?? "").split(", ").filter(Boolean);
    const chosen = protocols.includes("brink.v1") ? "Sec-WebSocket-Protocol: brink.v1\r\n" : "";
    socket.write(`HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n${chosen}Sec-WebSocket-Accept: ${accept}\r\n\r\n`);
    return new Peer(socket, protocols, onText);
  }

  constructor(socket, protocols, onText) {
    this.#socket = socket;
    this.#onText = onText;
    this.protocols = protocols;
    this.gone = new Promise((resolve) => socket.once("close", resolve));
    socket.on("error", () => {});
    socket.on("data", (chunk) => this.#read(chunk));
  }

  /** Sends a value as JSON, or a text as it is. */
  send(value) {
    this.#frame(TEXT, Buffer.from(typeof value === "string" ? value : JSON.stringify(value)));
  }

  ping() {
    this.#frame(PING, Buffer.alloc(0));
  }

  close(code) {
    const payload = Buffer.alloc(2);
    payload.writeUInt16BE(code);
    this.#frame(CLOSE, payload);
    this.#socket.end();
  }

  /** Without a closing frame. */
  destroy() {
    this.#socket.destroy();
  }

  #frame(opcode, payload) {
    if (!this.#socket.writable) return;
    const head = payload.length < 126 ? Buffer.of(0x80 | opcode, payload.length) : Buffer.of(0x80 | opcode, 126, payload.length >> 8, payload.length & 255);
    this.#socket.write(Buffer.concat([head, payload]));
  }

  #read(chunk) {
    this.#rest = Buffer.concat([this.#rest, chunk]);
    for (;;) {
      const frame = unmask(this.#rest);
      if (!frame) return;
      this.#rest = this.#rest.subarray(frame.length);
      if (frame.opcode === TEXT) this.#onText(frame.payload.toString());
      if (frame.opcode === CLOSE) {
        this.closeCode = frame.payload.length >= 2 ? frame.payload.readUInt16BE() : 1005;
        this.close(1000);
      }
    }
  }
}

/** The first frame, if it is there as a whole; those of a client are always masked. */
function unmask(bytes) {
  if (bytes.length < 2) return undefined;
  const short = bytes[1] & 127;
  if (short === 127) throw new Error("a message of more than 65,535 bytes");
  const head = short === 126 ? 4 : 2;
  if (bytes.length < head + 4) return undefined;
  const size = short === 126 ? bytes.readUInt16BE(2) : short;
  const length = head + 4 + size;
  if (bytes.length < length) return undefined;
  const mask = bytes.subarray(head, head + 4);
  const payload = Buffer.from(bytes.subarray(head + 4, length).map((byte, index) => byte ^ mask[index % 4]));
  return { opcode: bytes[0] & 15, payload, length };
}
