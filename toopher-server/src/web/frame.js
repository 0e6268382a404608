// Reloads a pending page without losing input, and posts the result to the window around the frame.
"use strict";

const INTERVAL = 1000;
const TIMEOUT = 10000;
// In a sandbox without `allow-same-origin`, scripts cannot fetch, so the whole page is reloaded.
const SANDBOXED = self.origin === "null";
// The query of a reload while the input had the focus.
const FOCUSED = "?focused";

const statusOf = (page) => page.querySelector("[role=status]");

// Removes the elements for browsers without scripts, and shows the form, which such browsers have on a page of its own.
function adapt(page) {
  page.querySelectorAll(".plain").forEach((plain) => plain.remove());
  page.querySelectorAll(".typed").forEach((typed) => { typed.hidden = false; });
}

function post() {
  const outcome = document.getElementById("outcome");
  if (outcome && window.parent !== window) {
    // Only to the site that has opened this page, if its origin is known.
    window.parent.postMessage(outcome.textContent, outcome.dataset.origin);
  }
}

// Shows another page. The status region is kept, so that screen readers announce it, and so is the focus.
function replace(page) {
  const rest = document.getElementById("rest");
  const focused = rest.contains(document.activeElement);
  adapt(page);
  statusOf(document).replaceChildren(...statusOf(page).childNodes);
  rest.replaceWith(page.getElementById("rest"));
  if (focused) {
    (document.querySelector("#rest input:not([type=hidden])") ?? statusOf(document)).focus();
  }
  post();
}

async function reload() {
  if (SANDBOXED) {
    const input = document.querySelector("[name=otp]");
    if (input?.value) {
      wait();
    } else {
      location.replace(input && input === document.activeElement ? FOCUSED : "?");
    }
    return;
  }
  try {
    const signal = AbortSignal.timeout(TIMEOUT);
    const response = await fetch(location.href, { cache: "no-store", headers: { accept: "text/html" }, signal });
    const page = new DOMParser().parseFromString(await response.text(), "text/html");
    // Server errors and the responses of gateways do not replace the page.
    const isPage = response.status < 500 && statusOf(page) && page.getElementById("rest");
    if (isPage && statusOf(page).textContent !== statusOf(document).textContent) {
      replace(page);
    }
  } catch {
    // The server cannot be reached. Try again later.
  }
  wait();
}

function wait() {
  if (document.getElementById("pending")) {
    setTimeout(reload, SANDBOXED ? 5 * INTERVAL : INTERVAL);
  }
}

adapt(document);
// After back navigation, browsers restore the input before this event: a code that was used before.
window.addEventListener("pageshow", () => {
  if (performance.getEntriesByType("navigation")[0]?.type === "back_forward") {
    document.querySelectorAll("form").forEach((form) => form.reset());
  }
});
document.querySelector(location.search === FOCUSED ? "[name=otp]" : "[aria-invalid]")?.focus();
post();
wait();
