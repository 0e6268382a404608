// Looks again while the page waits, without losing what is being typed; and hands the outcome to the window around it.
"use strict";

const EVERY = 1000;
const PATIENCE = 10000;
// In a sandbox without `allow-same-origin` nothing can be fetched, so the page is loaded again instead.
const SEALED = self.origin === "null";
// That the keyboard was in the field before.
const HELD = "?held";

const statusOf = (page) => page.querySelector("[role=status]");

// What is there for browsers without scripts goes, and what they would lose by loading the page again comes.
function adapt(page) {
  page.querySelectorAll(".plain").forEach((plain) => plain.remove());
  page.querySelectorAll(".typed").forEach((typed) => { typed.hidden = false; });
}

function post() {
  const outcome = document.getElementById("outcome");
  if (outcome && window.parent !== window) {
    // Only to the site that opened this page, where it or the browser has said which that is.
    window.parent.postMessage(outcome.textContent, outcome.dataset.origin);
  }
}

// The region that is announced stays the same one, and the keyboard is not left nowhere.
function turn(page) {
  const rest = document.getElementById("rest");
  const held = rest.contains(document.activeElement);
  adapt(page);
  statusOf(document).replaceChildren(...statusOf(page).childNodes);
  rest.replaceWith(page.getElementById("rest"));
  if (held) {
    (document.querySelector("#rest input:not([type=hidden])") ?? statusOf(document)).focus();
  }
  post();
}

async function look() {
  if (SEALED) {
    const input = document.querySelector("[name=otp]");
    if (input?.value) {
      wait();
    } else {
      location.replace(input && input === document.activeElement ? HELD : "?");
    }
    return;
  }
  try {
    const signal = AbortSignal.timeout(PATIENCE);
    const response = await fetch(location.href, { cache: "no-store", headers: { accept: "text/html" }, signal });
    const page = new DOMParser().parseFromString(await response.text(), "text/html");
    // Trouble that passes, and what others answer in our place, are not what has become of the page.
    const ours = response.status < 500 && statusOf(page) && page.getElementById("rest");
    if (ours && statusOf(page).textContent !== statusOf(document).textContent) {
      turn(page);
    }
  } catch {
    // Out of reach for the moment; look again.
  }
  wait();
}

function wait() {
  if (document.getElementById("waits")) {
    setTimeout(look, SEALED ? 5 * EVERY : EVERY);
  }
}

adapt(document);
// On the way back browsers fill in again, just before this event, what was typed: a code that has been tried.
window.addEventListener("pageshow", () => {
  if (performance.getEntriesByType("navigation")[0]?.type === "back_forward") {
    document.querySelectorAll("form").forEach((form) => form.reset());
  }
});
document.querySelector(location.search === HELD ? "[name=otp]" : "[aria-invalid]")?.focus();
post();
wait();
