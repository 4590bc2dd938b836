/** Vectors as `encoding_format: "base64"` carries them: a third of the size of decimal numbers, and exact. */

import { isObject, unusable } from "./error.js";

const LITTLE_ENDIAN = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1;

export function decodeVector(base64: string): Float32Array {
  const bytes = bytesOf(base64);
  if (bytes.length % 4 !== 0) throw unusable(`a vector of ${bytes.length} bytes is no sequence of 32-bit numbers`);
  if (LITTLE_ENDIAN) return new Float32Array(bytes.buffer);
  const view = new DataView(bytes.buffer);
  return Float32Array.from({ length: bytes.length / 4 }, (_, index) => view.getFloat32(index * 4, true));
}

function bytesOf(base64: string): Uint8Array<ArrayBuffer> {
  let binary: string;
  try {
    binary = atob(base64);
  } catch (cause) {
    throw unusable("a vector is no base64", cause);
  }
  const bytes = new Uint8Array(binary.length);
  for (let index = 0; index < binary.length; index++) bytes[index] = binary.charCodeAt(index);
  return bytes;
}

/** The vectors of an answer, each at the index of its input. */
export function vectorsOf(data: unknown): Float32Array[] {
  if (!Array.isArray(data)) throw unusable("it has no data");
  const vectors: (Float32Array | undefined)[] = new Array<undefined>(data.length).fill(undefined);
  for (const entry of data as unknown[]) {
    if (!isObject(entry) || typeof entry["embedding"] !== "string") throw unusable("an embedding is no base64");
    const index = entry["index"];
    if (typeof index !== "number" || !(index in vectors) || vectors[index]) throw unusable("an embedding has no index of its own");
    vectors[index] = decodeVector(entry["embedding"]);
  }
  return vectors as Float32Array[];
}
