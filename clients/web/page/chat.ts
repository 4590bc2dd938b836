/**
 * The chat page: a conversation with one model, over the built client.
 *
 * While an answer is written, its stream's id and cursor are kept with the text that is shown. A reload, or a
 * connection that was lost for long, goes on from there.
 */

import { Brink, BrinkError, type BrinkOptions, type ChatMessage, perFrame, type TextStream } from "./brink.js";
import { kept, type Settings } from "./kept.js";

/** What scrolls, ... */
const log = element("log", HTMLDivElement);
/** ... and the messages in it. */
const list = element("messages", HTMLOListElement);
const status = element("status", HTMLParagraphElement);
const form = element("form", HTMLFormElement);
const input = element("input", HTMLTextAreaElement);
const send = element("send", HTMLButtonElement);
const stop = element("stop", HTMLButtonElement);
const resume = element("continue", HTMLButtonElement);
const anew = element("anew", HTMLButtonElement);
const model = element("model", HTMLSelectElement);
const transport = element("transport", HTMLSelectElement);
const key = element("key", HTMLInputElement);

/** A word in the name of models that answer messages; the list of models does not say which do. */
const CHATS = /instruct|chat/i;

const messages: ChatMessage[] = kept.messages();
let settings: Settings = kept.settings();
let brink = connect();
/** Ends the answer under way, if there is one. */
let underWay: AbortController | undefined;
/** Writes down where the answer under way is. */
let keepPlace: () => void = () => {};

function connect(): Brink {
  const options: BrinkOptions = { baseUrl: "", transport: settings.transport };
  if (settings.key) options.apiKey = settings.key;
  return new Brink(options);
}

/** Shows a message and gives the node that its text is appended to. */
function show(role: ChatMessage["role"], text: string): { item: HTMLLIElement; node: Text } {
  const item = document.createElement("li");
  const who = document.createElement("p");
  const body = document.createElement("p");
  const node = document.createTextNode(text);
  item.className = role;
  who.className = "who";
  who.textContent = role === "user" ? "You" : "Model";
  body.className = "text";
  body.append(node);
  item.append(who, body);
  list.append(item);
  log.scrollTop = log.scrollHeight;
  return { item, node };
}

/** Reads an answer to its end, in place of whatever of it is known. */
async function follow(begin: (signal: AbortSignal) => TextStream, known: string, cursor: number): Promise<void> {
  const controller = new AbortController();
  const { item, node } = show("assistant", known);
  const stream = begin(controller.signal);
  underWay = controller;
  keepPlace = () => {
    if (stream.id !== undefined) kept.saveUnfinished({ id: stream.id, cursor, text: node.data });
  };
  // A screen reader waits for the whole answer instead of reading each word.
  item.setAttribute("aria-busy", "true");
  working(true);
  try {
    const end = await perFrame(stream, (piece) => {
      const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
      node.appendData(piece.text);
      cursor = piece.cursor;
      keepPlace();
      if (atEnd) log.scrollTop = log.scrollHeight;
    });
    if (underWay !== controller) return;
    finish(node.data, end?.finishReason === "length" ? "The answer is cut: it reached its greatest length." : "The answer is complete.");
  } catch (error) {
    // A new conversation has begun meanwhile, and this answer is no part of it.
    if (underWay === controller) failed(error, controller.signal, node.data, stream.id);
  } finally {
    item.removeAttribute("aria-busy");
    if (node.data === "") item.remove();
    if (underWay === controller) working(false);
  }
}

function failed(error: unknown, signal: AbortSignal, text: string, id: string | undefined): void {
  if (signal.aborted) return finish(text, "The answer was stopped.");
  const lost = error instanceof BrinkError && error.retryable && id !== undefined;
  if (!lost) return finish(text, `The answer failed: ${error instanceof Error ? error.message : String(error)}`);
  keepPlace();
  status.textContent = "The connection was lost; the rest of the answer may still come.";
}

/** The answer is part of the conversation from now on. */
function finish(text: string, why: string): void {
  kept.saveUnfinished(undefined);
  if (text !== "") messages.push({ role: "assistant", content: text });
  kept.saveMessages(messages);
  status.textContent = why;
}

function working(busy: boolean): void {
  if (busy) status.textContent = "The model is writing …";
  else underWay = undefined;
  if (!busy) keepPlace = () => {};
  // A button that has the focus must not vanish under it.
  if (!busy && document.activeElement === stop) input.focus();
  stop.hidden = !busy;
  send.disabled = busy;
  resume.hidden = busy || kept.unfinished() === undefined;
}

function ask(text: string): void {
  settleUnfinished();
  messages.push({ role: "user", content: text });
  kept.saveMessages(messages);
  show("user", text);
  log.scrollTop = log.scrollHeight;
  const body = { model: model.value, messages: [...messages] };
  void follow((signal) => brink.chatStream(body, { signal }), "", 0);
}

/** Somebody who asks on does not wait for the rest of an answer that was lost. */
function settleUnfinished(): void {
  const unfinished = kept.unfinished();
  if (unfinished) finish(unfinished.text, "");
}

function goOn(): void {
  const unfinished = kept.unfinished();
  if (!unfinished || underWay) return;
  // Its text is shown again by what follows.
  const last = list.lastElementChild;
  if (last?.className === "assistant") last.remove();
  const { id, cursor, text } = unfinished;
  void follow((signal) => brink.resumeStream(id, cursor, { signal }), text, cursor);
}

async function listModels(): Promise<void> {
  try {
    const names = (await brink.models()).map(({ id }) => id);
    const wanted = new URLSearchParams(location.search).get("model") ?? settings.model;
    model.replaceChildren(...names.map((name) => new Option(name)));
    model.value = names.includes(wanted) ? wanted : (names.find((name) => CHATS.test(name)) ?? names[0] ?? "");
  } catch (error) {
    status.textContent = `The models cannot be listed: ${error instanceof Error ? error.message : String(error)}`;
  }
}

function changed(): void {
  settings = { model: model.value, transport: transport.value === "websocket" ? "websocket" : "sse", key: key.value };
  kept.saveSettings(settings);
  brink.close();
  brink = connect();
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  const text = input.value.trim();
  if (text === "" || underWay) return;
  input.value = "";
  ask(text);
});
input.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  form.requestSubmit();
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") underWay?.abort();
});
stop.addEventListener("click", () => underWay?.abort());
resume.addEventListener("click", goOn);
anew.addEventListener("click", () => {
  const current = underWay;
  working(false);
  current?.abort();
  messages.length = 0;
  kept.saveMessages(messages);
  kept.saveUnfinished(undefined);
  list.replaceChildren();
  resume.hidden = true;
  status.textContent = "";
  input.focus();
});
model.addEventListener("change", changed);
transport.addEventListener("change", changed);
key.addEventListener("change", () => {
  changed();
  void listModels();
});
// A hidden page has no frames: what came since the last one is not shown, and is asked for again.
addEventListener("pagehide", () => keepPlace());

transport.value = settings.transport;
key.value = settings.key;
for (const { role, content } of messages) show(role, content);
void listModels();
goOn();

function element<T extends Element>(id: string, type: new () => T): T {
  const found = document.getElementById(id);
  if (found instanceof type) return found;
  throw new Error(`the page has no ${type.name} with the id ${id}`);
}
