/** What went wrong, in the words of the server where it said any. */

/** Longest text of an answer that is no JSON which is kept as the message, in characters. */
const MAX_MESSAGE = 500;

export interface Fault {
  status?: number | undefined;
  code?: string | null | undefined;
  param?: string | null | undefined;
  message: string;
  requestId?: string | null | undefined;
  retryAfterMs?: number | undefined;
  cause?: unknown;
}

/**
 * A request that has no answer, or not the one that was asked for.
 *
 * An abort is none of these: then the signal's own reason is thrown, as `fetch` does.
 */
export class BrinkError extends Error {
  /** The HTTP status; 0 where there was no answer, or where the error came within a stream of text. */
  readonly status: number;
  /** The server's code, or one of `connection_failed`, `timeout`, `too_slow`, `answer_unusable`, `stream_broken`, ... */
  readonly code: string | null;
  /** Which member of the request is at fault. */
  readonly param: string | null;
  /** The request's id in the server's log. */
  readonly requestId: string | null;
  /** How long the server asked to wait, in milliseconds. */
  readonly retryAfterMs: number | undefined;

  constructor(fault: Fault) {
    super(fault.message, fault.cause === undefined ? undefined : { cause: fault.cause });
    this.name = "BrinkError";
    this.status = fault.status ?? 0;
    this.code = fault.code ?? null;
    this.param = fault.param ?? null;
    this.requestId = fault.requestId ?? null;
    this.retryAfterMs = fault.retryAfterMs;
  }

  /** Whether the same request may succeed later: no connection, 408, 409, 429, and 500 or more. */
  get retryable(): boolean {
    const { status } = this;
    return status === 0
      ? this.code === "connection_failed" || this.code === "stream_broken"
      : status === 408 || status === 409 || status === 429 || status >= 500;
  }
}

/** An answer that does not have the documented form. It is no use to ask again. */
export function unusable(what: string, cause?: unknown): BrinkError {
  return new BrinkError({ code: "answer_unusable", message: `the server's answer is not usable: ${what}`, cause });
}

/** A connection that could not be made or that broke. */
export function connectionFailed(message: string, cause?: unknown): BrinkError {
  return new BrinkError({ code: "connection_failed", message, cause });
}

/** Reads the error of a body: `{"error": {...}}`, `{"error": "..."}`, or a problem document (RFC 9457). */
export function faultOf(body: unknown): Fault | undefined {
  if (!isObject(body)) return undefined;
  const { error } = body;
  if (typeof error === "string") return { message: error };
  if (isObject(error)) {
    return { message: text(error["message"]) ?? "no message", code: text(error["code"]), param: text(error["param"]) };
  }
  const detail = text(body["detail"]) ?? text(body["title"]);
  if (detail === undefined) return undefined;
  const errors = body["errors"];
  const first: unknown = Array.isArray(errors) ? errors[0] : undefined;
  // The last part of the type's URN is the problem's stable name.
  const code = text(body["type"])?.split(/[:/]/).pop();
  return { message: detail, code, param: isObject(first) ? text(first["field"]) : undefined };
}

/** The error of an HTTP answer with the body `text`. */
export function ofAnswer(status: number, headers: Headers, body: string, retryAfterMs: number | undefined): BrinkError {
  let fault: Fault | undefined;
  try {
    fault = faultOf(JSON.parse(body));
  } catch {
    // Not JSON, such as the page of a proxy: its beginning is the message.
  }
  const message = fault?.message ?? (body.trim().slice(0, MAX_MESSAGE) || `the server answered with status ${status}`);
  return new BrinkError({ ...fault, message, status, requestId: headers.get("x-request-id"), retryAfterMs });
}

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function text(value: unknown): string | undefined {
  return typeof value === "string" ? value : undefined;
}
