/** What survives a reload of the page, and ends with the tab: the conversation, and the answer under way. */

import type { ChatMessage } from "./brink.js";

/** An answer that has not ended: its text as the page shows it, and where that is. */
export interface Unfinished {
  id: string;
  cursor: number;
  text: string;
}

export interface Settings {
  model: string;
  transport: "sse" | "websocket";
  key: string;
}

/** Most messages of a conversation that are kept and sent; the oldest leave first. */
const MAX_MESSAGES = 100;

const MESSAGES = "brink.chat.messages";
const UNFINISHED = "brink.chat.unfinished";
const SETTINGS = "brink.chat.settings";

export const kept = {
  messages: (): ChatMessage[] => read<ChatMessage[]>(MESSAGES) ?? [],
  unfinished: (): Unfinished | undefined => read<Unfinished>(UNFINISHED),
  settings: (): Settings => ({ model: "", transport: "sse", key: "", ...read<Partial<Settings>>(SETTINGS) }),
  /** Drops what is above the limit from `messages` itself. */
  saveMessages(messages: ChatMessage[]): void {
    messages.splice(0, messages.length - MAX_MESSAGES);
    write(MESSAGES, messages);
  },
  /** Written once a frame, so by itself: a long conversation is not written again for each word. */
  saveUnfinished: (unfinished: Unfinished | undefined): void => write(UNFINISHED, unfinished),
  saveSettings: (settings: Settings): void => write(SETTINGS, settings),
};

/** Only this page writes here; what cannot be read is an older version's, and counts as nothing. */
function read<T>(key: string): T | undefined {
  try {
    return (JSON.parse(sessionStorage.getItem(key) ?? "null") as T | null) ?? undefined;
  } catch {
    return undefined;
  }
}

/** A full or forbidden store costs the memory of this page, and nothing else. */
function write(key: string, value: unknown): void {
  try {
    if (value === undefined) sessionStorage.removeItem(key);
    else sessionStorage.setItem(key, JSON.stringify(value));
  } catch {
    // Nothing is lost until the page is reloaded.
  }
}
