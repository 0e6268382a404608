// The service worker, which lets the page start without a network, and its newer versions.

import { $ } from "./dom.js";

const WORKER = new URL("sw.js", import.meta.url).href;
/// The one address that this page ever runs a script from at its own will.
const trusted = globalThis.trustedTypes?.createPolicy("toopher-phone", { createScriptURL: () => WORKER });

/// `busy` says whether something would be lost by loading the page again.
export async function install(busy) {
  const workers = navigator.serviceWorker;
  if (!workers) {
    return;
  }
  let asked = false;
  workers.addEventListener("controllerchange", () => {
    if (asked) {
      location.reload();
    }
  });
  const takeOver = (worker) => {
    asked = true;
    worker.postMessage("take over");
  };
  const offer = (worker) => {
    $("update").hidden = false;
    $("reload").onclick = () => takeOver(worker);
  };
  workers.ready.then(() => { $("offline-ready").textContent = "Works without a network, too."; });
  const scope = new URL("../phone", import.meta.url).href;
  const url = trusted ? trusted.createScriptURL("") : WORKER;
  const registration = await workers.register(url, { scope, updateViaCache: "none" });
  if (registration.waiting) {
    // Found the last time.
    (busy() ? offer : takeOver)(registration.waiting);
  }
  registration.addEventListener("updatefound", () => {
    const worker = registration.installing;
    worker.addEventListener("statechange", () => {
      if (worker.state === "installed" && workers.controller) {
        offer(worker);
      }
    });
  });
}
