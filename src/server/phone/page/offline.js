// The service worker, which lets the page start without a network, and its newer versions.

import { $ } from "./dom.js";

const WORKER = new URL("sw.js", import.meta.url).href;
// The one address that this page ever runs a script from at its own will.
const trusted = globalThis.trustedTypes?.createPolicy("toopher-phone", { createScriptURL: () => WORKER });

export async function install() {
  const workers = navigator.serviceWorker;
  if (!workers) {
    return;
  }
  // A newer one is used from the next start on. Nothing is taken away from who is typing.
  if (workers.controller) {
    workers.addEventListener("controllerchange", () => {
      $("update").hidden = false;
    });
  }
  $("reload").addEventListener("click", () => location.reload());
  workers.ready.then(() => {
    $("offline-ready").textContent = "Works without a network, too.";
  });
  const scope = new URL("../phone", import.meta.url).href;
  const url = trusted ? trusted.createScriptURL("") : WORKER;
  await workers.register(url, { scope, updateViaCache: "none" });
}
