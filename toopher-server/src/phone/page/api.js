// The API of the server, and its events, which report changes.

const BASE = new URL("v1/", import.meta.url);
const TIMEOUT = 15_000;
// The server sends something every 15 seconds. After this time without data the connection is dead.
const MAX_SILENCE = 40_000;
const FIRST_PAUSE = 1_000;
const MAX_PAUSE = 30_000;

// The server cannot be reached, or the response is not of the server.
export class NoServer extends Error {}
// The server does not know this phone.
export class NoDevice extends Error {}
// The server has rejected a call.
export class Rejected extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

// By how many seconds the server's clock is ahead of this one, and who stores a change; 0 while that is unknown.
let ahead = 0;
let storeSkew = () => {};

export const skew = () => ahead;

// Begins with the difference that was measured last, which a phone without a network needs for its codes.
export function startSkew(known, store) {
  ahead = known;
  storeSkew = store;
}

// Measures the difference by a response. Its date, in whole seconds, is of a time between `sent` and now.
function measureSkew(response, sent) {
  const date = Date.parse(response.headers.get("date"));
  if (!date) {
    return;
  }
  const taken = Date.now() - sent;
  const difference = (date + 500 - sent - taken / 2) / 1000;
  const measured = Math.abs(difference) < 2 + taken / 2000 ? 0 : Math.round(difference);
  // Small changes are those of the measurement.
  if (Math.abs(measured - ahead) > 2 || (measured === 0) !== (ahead === 0)) {
    ahead = measured;
    storeSkew(ahead);
  }
}

// The server's time in seconds.
export const serverTime = () => Date.now() / 1000 + ahead;

function headers(token) {
  return token ? { authorization: `Bearer ${token}` } : {};
}

// A call without a body is a GET.
export async function call(token, path, body) {
  const post = body && { method: "POST", body: JSON.stringify(body) };
  const type = body ? { "content-type": "application/json" } : {};
  const sent = Date.now();
  let response, json;
  try {
    response = await fetch(new URL(path, BASE), {
      ...post,
      headers: { ...headers(token), ...type },
      cache: "no-store",
      redirect: "error",
      signal: AbortSignal.timeout(TIMEOUT),
    });
    measureSkew(response, sent);
    json = await response.json();
  } catch {
    throw new NoServer("The server cannot be reached.");
  }
  if (response.ok) {
    return json;
  }
  if (response.status === 401) {
    throw new NoDevice();
  }
  if (typeof json?.error_message !== "string" || response.status >= 500) {
    throw new NoServer("The server cannot be reached.");
  }
  throw new Rejected(response.status, json.error_message);
}

// Connects for events until `stop` is called. Calls `changed` at the start of each connection and after each change, and
// `lost` when the connection is lost.
export function listen(token, { changed, lost, unknown }) {
  let stopped = false;
  let connection = null;
  let wake = () => {};

  async function connect() {
    connection = new AbortController();
    let dead = setTimeout(() => connection.abort(), MAX_SILENCE);
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
        dead = setTimeout(() => connection.abort(), MAX_SILENCE);
        const lines = (rest + value).split("\n");
        rest = lines.pop();
        if (lines.some((line) => line.trim() === "event: changed")) {
          changed();
        }
      }
    } catch {
      // The connection failed or was lost.
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
      pause = Date.now() - start > MAX_PAUSE ? FIRST_PAUSE : Math.min(pause * 2, MAX_PAUSE);
      await new Promise((resolve) => {
        // Random, so that not all phones connect at once after an outage.
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
    // Connects now if there is no connection.
    wake: () => wake(),
  };
}
