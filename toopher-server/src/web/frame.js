// Reloads a pending page without losing input, counts down its time limit, and posts the result to the window around the
// frame.
"use strict";

const INTERVAL = 1000;
const TIMEOUT = 10000;
// How long the site has for its reaction to the result, before the page offers to send it again.
const REACTION = 5000;
// In a sandbox without `allow-same-origin`, scripts cannot fetch, so the whole page is reloaded.
const SANDBOXED = self.origin === "null";
// The query of a reload while the input had the focus.
const FOCUSED = "?focused";
// The queries of the views that the user has chosen, which a reload keeps.
const VIEWS = ["?other", "?sent"];

const statusOf = (page) => page.querySelector("[role=status]");
// When the time limit of the page ends, by the clock of the browser since the page was loaded.
let end = null;
// Whether a form was sent. The page that follows shows what has changed, and posts the result.
let leaving = false;

// Removes the elements for browsers without scripts, and shows the form, which such browsers have on a page of its own.
function adapt(page) {
  page.querySelectorAll(".plain").forEach((plain) => plain.remove());
  page.querySelectorAll(".typed, #copy, #print").forEach((element) => { element.hidden = false; });
}

// Only to the site that has opened this page, if its origin is known.
function post() {
  const outcome = document.getElementById("outcome");
  window.parent.postMessage(outcome.textContent, outcome.dataset.origin);
}

// Posts the result, unless the user has to do something before.
function finish() {
  if (!document.getElementById("outcome") || document.getElementById("held") || window.parent === window) {
    return;
  }
  post();
  const again = document.getElementById("continue");
  again.addEventListener("click", post);
  setTimeout(() => { again.hidden = false; }, REACTION);
}

function startCountdown() {
  const left = document.querySelector(".left");
  end = left && performance.now() + left.dataset.left * 1000;
  countDown();
}

function countDown() {
  const left = document.querySelector(".left");
  if (left) {
    const seconds = Math.max(0, Math.ceil((end - performance.now()) / 1000));
    left.querySelector(".time").textContent = `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")} min`;
    left.hidden = false;
  }
}

// Without a connection the page says so: an answer on the phone is then not shown here yet.
function offline(is) {
  let shown = document.getElementById("offline");
  if (is && !shown) {
    shown = document.createElement("p");
    shown.id = "offline";
    shown.setAttribute("role", "alert");
    shown.textContent = "The server cannot be reached. This page tries again.";
    document.getElementById("rest").before(shown);
  } else if (!is) {
    shown?.remove();
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
  startCountdown();
  finish();
}

async function reload() {
  if (SANDBOXED) {
    const typed = [...document.querySelectorAll("#rest input:not([type=hidden])")];
    if (typed.some((input) => input.value)) {
      wait();
    } else {
      const view = VIEWS.includes(location.search) ? location.search : "?";
      location.replace(view === "?" && typed.includes(document.activeElement) ? FOCUSED : view);
    }
    return;
  }
  try {
    const signal = AbortSignal.timeout(TIMEOUT);
    const response = await fetch(location.href, { cache: "no-store", headers: { accept: "text/html" }, signal });
    const page = new DOMParser().parseFromString(await response.text(), "text/html");
    // Server errors and the responses of gateways do not replace the page.
    const isPage = response.status < 500 && statusOf(page) && page.getElementById("rest");
    offline(response.status >= 500);
    if (isPage && !leaving && statusOf(page).textContent !== statusOf(document).textContent) {
      replace(page);
    }
  } catch {
    // The server cannot be reached. Try again later.
    offline(true);
  }
  wait();
}

function wait() {
  if (document.getElementById("pending")) {
    setTimeout(reload, SANDBOXED ? 5 * INTERVAL : INTERVAL);
  }
}

async function copy() {
  const codes = document.getElementById("codes");
  const text = [...codes.children].map((code) => code.textContent).join("\n");
  let copied = true;
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // The site has not given this permission to the frame.
    getSelection().selectAllChildren(codes);
    copied = document.execCommand("copy");
  }
  document.getElementById("copied").textContent = copied ? "Copied." : "Not copied: select the codes, and copy them.";
}

// A second click on a button must not send the form again.
document.addEventListener("submit", (event) => {
  if (event.target.dataset.sent) {
    event.preventDefault();
  }
  event.target.dataset.sent = "yes";
  leaving = true;
});
document.addEventListener("click", ({ target }) => {
  if (target.id === "copy") {
    copy();
  } else if (target.id === "print") {
    print();
  }
});

adapt(document);
// After back navigation, browsers restore the input before this event: a code that was used before.
window.addEventListener("pageshow", () => {
  leaving = false;
  document.querySelectorAll("form").forEach((form) => { delete form.dataset.sent; });
  if (performance.getEntriesByType("navigation")[0]?.type === "back_forward") {
    document.querySelectorAll("form").forEach((form) => form.reset());
  }
});
document.querySelector(location.search === FOCUSED ? "[name=otp]" : "[aria-invalid]")?.focus();
startCountdown();
setInterval(countDown, INTERVAL);
finish();
wait();
