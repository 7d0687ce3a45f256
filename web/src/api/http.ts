/** Questions and commands to the server, and what it says where it refuses. */
import type { Problem } from "./shapes";

const ROOT = "/api/v1";
const TOKEN = "tradewind.token";

/** A refusal, in the server's words. */
export class ApiError extends Error {
  override name = "ApiError";

  constructor(
    readonly status: number,
    readonly title: string,
    readonly detail: string,
    readonly hint: string,
  ) {
    super(detail || title);
  }
}

/** The token of this tab: kept until it is closed, never longer. */
export const token = {
  get: (): string => sessionStorage.getItem(TOKEN) ?? "",
  set: (value: string): void => {
    if (value) sessionStorage.setItem(TOKEN, value);
    else sessionStorage.removeItem(TOKEN);
  },
};

const waiting = new Set<() => void>();

/** Be told when the server wants a token. */
export function onUnauthorised(tell: () => void): () => void {
  waiting.add(tell);
  return () => waiting.delete(tell);
}

export function unauthorised(): void {
  for (const tell of waiting) tell();
}

async function refusal(response: Response): Promise<ApiError> {
  const said = (await response.json().catch(() => ({}))) as Partial<Problem>;
  const title = said.title ?? (response.statusText || `the server answered ${response.status}`);
  return new ApiError(response.status, title, said.detail ?? "", said.hint ?? "");
}

async function ask(path: string, init: RequestInit = {}): Promise<unknown> {
  const headers = new Headers(init.headers);
  if (token.get()) headers.set("Authorization", `Bearer ${token.get()}`);
  let response: Response;
  try {
    response = await fetch(ROOT + path, { ...init, headers, cache: "no-store" });
  } catch {
    throw new ApiError(0, "no answer", "the server does not answer", "is `tradewind live` running?");
  }
  if (response.status === 401) unauthorised();
  if (!response.ok) throw await refusal(response);
  return response.json();
}

/** Return one thing. */
export async function getOne<T>(path: string): Promise<T> {
  return (await ask(path)) as T;
}

/** Return the items of a list. */
export async function getItems<T>(path: string): Promise<T[]> {
  return ((await ask(path)) as { items: T[] }).items;
}

/** Give a command; returns what came of it. */
export async function command(path: string, body: object = {}): Promise<unknown> {
  const headers = { "Content-Type": "application/json" };
  return ask(path, { method: "POST", headers, body: JSON.stringify(body) });
}

/** Take something back. */
export async function withdraw(path: string): Promise<unknown> {
  return ask(path, { method: "DELETE" });
}

/** Return a name for something that is asked for, so that asking twice is asking once; works without TLS too. */
export function newId(): string {
  return [...crypto.getRandomValues(new Uint8Array(12))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
