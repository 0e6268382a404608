// The calls of the server, and its events, which say when to look again.

const BASE = new URL("v1/", import.meta.url);
const PATIENCE = 15_000;
// The server sends something every fifteen seconds; without, the line is dead.
const SILENCE = 40_000;
const FIRST_PAUSE = 1_000;
const LONGEST_PAUSE = 30_000;

// The server is out of reach, or what answers is not the server.
export class NoServer extends Error {}
// The server does not know this phone.
export class NoDevice extends Error {}
// The server says no.
export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

// How far the server's clock is ahead of this one, in seconds, as far as it is known.
let ahead = 0;

export const skew = () => ahead;

// The server's time, in seconds.
export const serverTime = () => Date.now() / 1000 + ahead;

function headers(token) {
  return token ? { authorization: `Bearer ${token}` } : {};
}

// A call without a body is a GET.
export async function call(token, path, body) {
  const post = body && { method: "POST", body: JSON.stringify(body) };
  const type = body ? { "content-type": "application/json" } : {};
  let response, json;
  try {
    response = await fetch(new URL(path, BASE), {
      ...post,
      headers: { ...headers(token), ...type },
      cache: "no-store",
      redirect: "error",
      signal: AbortSignal.timeout(PATIENCE),
    });
    json = await response.json();
  } catch {
    throw new NoServer("The server is out of reach.");
  }
  const date = Date.parse(response.headers.get("date"));
  if (date) {
    // Dates are of whole seconds.
    const difference = (date - Date.now()) / 1000;
    ahead = Math.abs(difference) < 2 ? 0 : difference;
  }
  if (response.ok) {
    return json;
  }
  if (response.status === 401) {
    throw new NoDevice();
  }
  if (typeof json?.error_message !== "string" || response.status >= 500) {
    throw new NoServer("The server is out of reach.");
  }
  throw new Refused(response.status, json.error_message);
}

// Listens until told to stop. `changed` is called when it is time to look, and once at the start of every connection;
// `lost` when there is none.
export function listen(token, { changed, lost, unknown }) {
  let stopped = false;
  let connection = null;
  let wake = () => {};

  async function connect() {
    connection = new AbortController();
    let dead = setTimeout(() => connection.abort(), SILENCE);
    try {
      const response = await fetch(new URL("events", BASE), {
        headers: headers(token),
        cache: "no-store",
        redirect: "error",
        signal: connection.signal,
      });
      if (response.status === 401) {
        stopped = true;
        unknown();
        return;
      }
      if (!response.ok || !response.headers.get("content-type")?.startsWith("text/event-stream")) {
        return;
      }
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      for (let rest = ""; ;) {
        const { value, done } = await reader.read();
        if (done) {
          return;
        }
        clearTimeout(dead);
        dead = setTimeout(() => connection.abort(), SILENCE);
        const lines = (rest + value).split("\n");
        rest = lines.pop();
        if (lines.some((line) => line.trim() === "event: changed")) {
          changed();
        }
      }
    } catch {
      // Broken off, or never there.
    } finally {
      clearTimeout(dead);
      connection.abort();
    }
  }

  (async () => {
    let pause = FIRST_PAUSE;
    while (!stopped) {
      const start = Date.now();
      await connect();
      if (stopped) {
        return;
      }
      lost();
      pause = Date.now() - start > LONGEST_PAUSE ? FIRST_PAUSE : Math.min(pause * 2, LONGEST_PAUSE);
      await new Promise((resolve) => {
        // Not all phones at once, when a server has been away.
        const timer = setTimeout(resolve, pause * (0.5 + Math.random() / 2));
        wake = () => {
          clearTimeout(timer);
          pause = FIRST_PAUSE;
          resolve();
        };
      });
    }
  })();

  return {
    stop() {
      stopped = true;
      connection?.abort();
      wake();
    },
    // Tries again now, if it is not connected.
    wake: () => wake(),
  };
}
