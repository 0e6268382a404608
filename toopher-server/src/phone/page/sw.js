// Caches the page for use without a network. Responses of the API are not cached.
"use strict";

const PAGE = new URL("../phone", self.location.href);
// The server fills in the files of the page, and a digest of them.
const FILES = "@files@".split(" ").map((name) => new URL(name, self.location.href));
const VERSION = "@version@";
const OURS = `toopher-phone ${PAGE.pathname} `;
const CACHE = OURS + VERSION;
const PATHS = new Set([PAGE, ...FILES].map((url) => url.pathname));

async function store(cache, url) {
  const response = await fetch(url, { cache: "no-cache" });
  // The response of a gateway or a login page must not replace this page.
  if (response.status !== 200 || response.redirected) {
    throw new Error(`${url.pathname}: ${response.status}`);
  }
  await cache.put(url.pathname, response);
}

async function install() {
  const cache = await caches.open(CACHE);
  await Promise.all([PAGE, ...FILES].map((url) => store(cache, url)));
  // Open pages have loaded all their scripts already.
  await self.skipWaiting();
}

self.addEventListener("install", (event) => event.waitUntil(install()));

async function activate() {
  const old = (await caches.keys()).filter((name) => name.startsWith(OURS) && name !== CACHE);
  await Promise.all(old.map((name) => caches.delete(name)));
  await self.clients.claim();
}

self.addEventListener("activate", (event) => event.waitUntil(activate()));

async function answer(request, path) {
  return (await caches.match(path, { cacheName: CACHE, ignoreVary: true })) ?? fetch(request);
}

self.addEventListener("fetch", (event) => {
  const { origin, pathname } = new URL(event.request.url);
  if (event.request.method === "GET" && origin === self.location.origin && PATHS.has(pathname)) {
    event.respondWith(answer(event.request, pathname));
  }
});
