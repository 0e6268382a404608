// The service worker, which makes the page work without a network, and its updates.

import { $ } from "./dom.js";

const WORKER = new URL("sw.js", import.meta.url).href;
// The only script URL that this page creates.
const trusted = globalThis.trustedTypes?.createPolicy("toopher-phone", { createScriptURL: () => WORKER });

export async function install() {
  const workers = navigator.serviceWorker;
  if (!workers) {
    return;
  }
  // A new version is used after a reload, so that the user loses no input.
  if (workers.controller) {
    workers.addEventListener("controllerchange", () => {
      $("update").hidden = false;
    });
  }
  $("reload").addEventListener("click", () => location.reload());
  workers.ready.then(() => {
    $("offline-ready").textContent = "Works without a network.";
  });
  const scope = new URL("../phone", import.meta.url).href;
  const url = trusted ? trusted.createScriptURL("") : WORKER;
  await workers.register(url, { scope, updateViaCache: "none" });
}
