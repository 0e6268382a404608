// A phone in a browser: registers, shows pending requests, and computes codes.

import { call, listen, NoDevice, NoServer, Rejected, startSkew } from "./api.js";
import * as claim from "./claim.js";
import { $, name, notice, problem, responded, transientProblem } from "./dom.js";
import { install } from "./offline.js";
import { showPairings, tickCodes, tickPairings } from "./pairings.js";
import { hidePhrase, isPhraseShown, newPhrase, tickPhrase } from "./phrase.js";
import { showEmpty, showRequests, tickRequests } from "./requests.js";
import { showRules } from "./rules.js";
import * as store from "./store.js";

const TICK = 250;

let device;
let keys = [];
// The last response of the server, or null.
let pairings = null;
let isKnown = true;
let events = null;
const tabs = new BroadcastChannel(`toopher-phone ${new URL(".", import.meta.url).pathname}`);

claim.read();

// The operations for the other modules.
const phone = {
  call: (path, body) => call(device?.token, path, body),
  refresh,
  // Called after a change that all tabs show.
  async changed() {
    tabs.postMessage("changed");
    await load();
    await refresh();
  },
  // Runs an action unless one is running, and shows its error.
  async run(where, act) {
    if (where.hasAttribute("aria-busy")) {
      return;
    }
    where.setAttribute("aria-busy", "true");
    problem();
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
    transientProblem("The server cannot be reached, and may not have received this. Try again when you are connected.");
  } else if (error instanceof Rejected) {
    problem(error.message);
  } else {
    console.error(error);
    problem(`Unexpected error: ${error?.message ?? error}`);
  }
}

function connection(live) {
  $("connection").textContent = live ? "Connected" : "Offline. Codes still work.";
  document.body.dataset.connection = live ? "live" : "offline";
  showEmpty();
  if (live) {
    responded();
  }
}

// The server does not know this phone: it only shows codes, until the user registers again.
function unknown() {
  isKnown = false;
  stream();
  $("connection").textContent = "";
  document.body.dataset.connection = "unknown";
  notice();
  $("unknown").hidden = false;
  $("registered").hidden = $("more").hidden = true;
}

async function load() {
  [device, keys] = await Promise.all([store.device(), store.keys()]);
}

let refreshing = null;
let again = false;

// Reads everything from the server. Of several concurrent calls, one runs, and one more follows for later changes.
function refresh() {
  again = refreshing !== null;
  refreshing ??= (async () => {
    try {
      do {
        again = false;
        await reload();
      } while (again);
    } finally {
      refreshing = null;
    }
  })();
  return refreshing;
}

async function reload() {
  if (!device || !isKnown) {
    showPairings(null, keys, phone);
    return;
  }
  const { token } = device;
  try {
    await claim.take(phone);
    const previous = pairings;
    const overview = await call(token, "overview");
    if (device?.token !== token) {
      // Another tab has registered again.
      return;
    }
    ({ pairings } = overview);
    connection(true);
    stream();
    if (pairings.some(({ id, pending }) => pending && !previous?.some((pairing) => pairing.id === id))) {
      // A site has used the words.
      hidePhrase();
    }
    showPairings(pairings, keys, phone);
    showRequests(overview.requests, phone);
    showRules(overview.automations, phone);
  } catch (error) {
    showPairings(pairings, keys, phone);
    if (error instanceof NoServer) {
      connection(false);
    } else if (error instanceof Rejected) {
      transientProblem(error.message);
    } else {
      failed(error);
    }
  }
}

// Connects for events while the page is visible: browsers limit the connections to a server over all tabs. The server
// rejects phones that have neither a pairing nor a valid phrase. While the pairings are unknown, the attempts to connect
// are what refreshes the page.
function stream() {
  const mayListen = pairings === null || pairings.length > 0 || isPhraseShown();
  const wanted = Boolean(device) && isKnown && mayListen && document.visibilityState === "visible";
  if (wanted && !events) {
    // Without a connection it refreshes at each attempt to connect.
    events = listen(device.token, { changed: refresh, lost: refresh, unknown });
  } else if (!wanted) {
    events?.stop();
    events = null;
  }
}

// Shows the page of a registered phone, or the registration.
function begin() {
  $("starting").hidden = true;
  $("unknown").hidden = true;
  $("register").hidden = Boolean(device);
  $("registered").hidden = $("more").hidden = !device;
  $("codes-section").hidden = !device && keys.length === 0;
  $("device").replaceChildren(...(device ? ["This phone: ", name(device.name)] : []));
  isKnown = true;
  events?.stop();
  events = null;
  stream();
  // The keys work before the server responds.
  showPairings(pairings, keys, phone);
}

async function register() {
  const typed = $("name").value.trim();
  if (!typed) {
    problem("Give this phone a name.");
    $("name").focus();
    return;
  }
  await load();
  if (!device) {
    // Fails if the browser cannot store keys.
    await store.probe();
    await store.addDevice(await call(null, "devices", { name: typed }));
    await load();
    pairings = [];
    // Without this, the browser may delete the keys when storage is short.
    navigator.storage?.persist?.();
  }
  tabs.postMessage("changed");
  begin();
  $("requests-title").focus();
  await refresh();
}

async function showWords() {
  await newPhrase(phone);
  stream();
  // An attempt to connect that was rejected before is repeated at once.
  events?.wake();
}

// Takes the pairing of a link that the site shows on the same device.
async function useLink() {
  const isLink = claim.paste($("link").value);
  $("link-error").textContent = isLink ? "" : "This is not the link of a pairing. Copy all of it: it contains #claim= and some letters.";
  $("link").toggleAttribute("aria-invalid", !isLink);
  if (!isLink) {
    $("link").focus();
    return;
  }
  $("link").value = "";
  await refresh();
  $("requests-title").focus();
}

async function registerAgain() {
  await store.deleteDevice();
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
    unable(`It needs a secure connection to store your keys: open it with https:// instead of ${location.protocol}//${location.host}.`);
    return;
  }
  try {
    await load();
    startSkew((await store.skew()) ?? 0, (ahead) => store.putSkew(ahead).catch((error) => console.warn("The time is not stored.", error)));
  } catch (error) {
    unable(`This browser does not let the page store data (${error?.message ?? error}). A private window may be the cause.`);
    return;
  }
  $("register-form").addEventListener("submit", (event) => {
    event.preventDefault();
    phone.run($("register-form"), register);
  });
  $("again").addEventListener("click", () => phone.run($("unknown"), registerAgain));
  $("new-phrase").addEventListener("click", () => phone.run($("new-phrase"), showWords));
  $("link-form").addEventListener("submit", (event) => {
    event.preventDefault();
    phone.run($("link-form"), useLink);
  });
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
    tickPairings(pairings, keys, phone);
    tickPhrase();
    tickCodes();
  }, TICK);
  begin();
  install().catch((error) => console.warn("The page will not work offline.", error));
}

start();
