// A phone in a browser: registers, shows what waits, and computes codes.

import { call, listen, NoDevice, NoServer, Refused } from "./api.js";
import * as claim from "./claim.js";
import { $, name, news, trouble } from "./dom.js";
import { install } from "./offline.js";
import { showPairings, tickCodes } from "./pairings.js";
import { hidePhrase, newPhrase, tickPhrase } from "./phrase.js";
import { showRequests, tickRequests } from "./requests.js";
import { showRules } from "./rules.js";
import * as store from "./store.js";

const TICK = 250;

let device;
let keys = [];
// What the server has said last, or null.
let pairings = null;
let known = true;
let events = null;
const tabs = new BroadcastChannel(`toopher-phone ${new URL(".", import.meta.url).pathname}`);

claim.read();

// What the parts of the page may do.
const phone = {
  call: (path, body) => call(device?.token, path, body),
  refresh,
  // After this tab has changed what all of them show.
  async changed() {
    tabs.postMessage("changed");
    await load();
    await refresh();
  },
  // Does something once, and says what was wrong with it.
  async doing(where, act) {
    if (where.hasAttribute("aria-busy")) {
      return;
    }
    where.setAttribute("aria-busy", "true");
    trouble();
    try {
      await act();
    } catch (error) {
      failed(error);
    } finally {
      where.removeAttribute("aria-busy");
    }
  },
};

function failed(error) {
  if (error instanceof NoDevice) {
    unknown();
  } else if (error instanceof NoServer) {
    connection(false);
    trouble("The server is out of reach, and may not have heard of this. Try again once there is a connection.");
  } else if (error instanceof Refused) {
    trouble(error.message);
  } else {
    console.error(error);
    trouble(`Something went wrong: ${error?.message ?? error}`);
  }
}

function connection(live) {
  $("connection").textContent = live ? "Connected" : "Offline. Codes go on working.";
  document.body.dataset.connection = live ? "live" : "offline";
}

// The server does not know this phone: codes only, until its owner starts anew.
function unknown() {
  known = false;
  stream();
  $("connection").textContent = "";
  document.body.dataset.connection = "unknown";
  news();
  $("unknown").hidden = false;
  $("registered").hidden = $("more").hidden = true;
}

async function load() {
  [device, keys] = await Promise.all([store.device(), store.keys()]);
}

let looking = null;
let again = false;

// Looks at everything. Of many calls at once two are enough: the one under way, and one that sees what came later.
function refresh() {
  again = looking !== null;
  looking ??= (async () => {
    try {
      do {
        again = false;
        await look();
      } while (again);
    } finally {
      looking = null;
    }
  })();
  return looking;
}

async function look() {
  if (!device || !known) {
    showPairings(null, keys, phone);
    return;
  }
  const { token } = device;
  try {
    await claim.take(phone);
    const had = pairings;
    const said = await Promise.all(["pairings", "requests", "automations"].map((path) => call(token, path)));
    if (device?.token !== token) {
      // Another phone by now.
      return;
    }
    const [, requests, rules] = said;
    [pairings] = said;
    connection(true);
    if (pairings.some(({ id, pending }) => pending && !had?.some((pairing) => pairing.id === id))) {
      // The words have been used.
      hidePhrase();
    }
    showPairings(pairings, keys, phone);
    showRequests(requests, phone);
    showRules(rules, phone);
  } catch (error) {
    showPairings(pairings, keys, phone);
    if (error instanceof NoServer) {
      connection(false);
    } else {
      failed(error);
    }
  }
}

// Listens while somebody looks: a browser has few connections for a server, and many tabs.
function stream() {
  const wanted = Boolean(device) && known && document.visibilityState === "visible";
  if (wanted && !events) {
    // Without events it looks as often as it tries to have them.
    events = listen(device.token, { changed: refresh, lost: refresh, unknown });
  } else if (!wanted) {
    events?.stop();
    events = null;
  }
}

// Shows the page of a phone that is registered, or the one to register it.
function begin() {
  $("starting").hidden = true;
  $("unknown").hidden = true;
  $("register").hidden = Boolean(device);
  $("registered").hidden = $("more").hidden = !device;
  $("codes-section").hidden = !device && keys.length === 0;
  $("device").replaceChildren(...(device ? ["This phone: ", name(device.name)] : []));
  known = true;
  events?.stop();
  events = null;
  stream();
  // What the keys can do does not wait for the server.
  showPairings(pairings, keys, phone);
}

async function register() {
  const typed = $("name").value.trim();
  if (!typed) {
    trouble("Give this phone a name.");
    $("name").focus();
    return;
  }
  await load();
  if (!device) {
    // Where keys cannot be kept, it is better not to begin.
    await store.probe();
    await store.addDevice(await call(null, "devices", { name: typed }));
    await load();
    // Else the browser may throw keys away when it is short of room.
    navigator.storage?.persist?.();
  }
  tabs.postMessage("changed");
  begin();
  $("requests-title").focus();
  await refresh();
}

async function startAnew() {
  await store.forgetDevice();
  tabs.postMessage("changed");
  await load();
  pairings = null;
  begin();
  $("name").focus();
}

function unable(why) {
  $("starting").hidden = true;
  $("unable").hidden = false;
  $("unable-why").textContent = why;
}

async function start() {
  if (!isSecureContext || !globalThis.crypto?.subtle) {
    unable(`It needs a secure connection to keep your keys: open it by https://, and not by ${location.protocol}//${location.host}.`);
    return;
  }
  try {
    await load();
  } catch (error) {
    unable(`This browser lets the page keep nothing (${error?.message ?? error}). A private window may be the reason.`);
    return;
  }
  $("register-form").addEventListener("submit", (event) => {
    event.preventDefault();
    phone.doing($("register-form"), register);
  });
  $("anew").addEventListener("click", () => phone.doing($("unknown"), startAnew));
  $("new-phrase").addEventListener("click", () => phone.doing($("new-phrase"), () => newPhrase(phone)));
  addEventListener("hashchange", () => {
    claim.read();
    refresh();
  });
  addEventListener("online", () => events?.wake());
  document.addEventListener("visibilitychange", stream);
  tabs.addEventListener("message", async () => {
    const before = device?.token;
    await load();
    if (before !== device?.token) {
      pairings = null;
      begin();
    }
    await refresh();
  });
  setInterval(() => {
    tickRequests(phone);
    tickPhrase();
    tickCodes();
  }, TICK);
  begin();
  install().catch((error) => console.warn("The page will not work offline.", error));
}

start();
