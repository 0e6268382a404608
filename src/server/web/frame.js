// Looks again while the page waits, without losing what is being typed; and hands the outcome to the window around it.
"use strict";

const EVERY = 1000;

function post(root) {
  const outcome = root.getElementById("outcome");
  if (outcome && window.parent !== window) {
    // Only to the site that opened this page, where the browser has said which that is.
    window.parent.postMessage(outcome.textContent, outcome.dataset.origin);
  }
  return Boolean(outcome);
}

async function look() {
  try {
    const response = await fetch(location.href, { cache: "no-store", headers: { accept: "text/html" } });
    const page = new DOMParser().parseFromString(await response.text(), "text/html");
    const text = (root) => root.querySelector("[role=status]")?.textContent;
    if (text(page) !== text(document)) {
      document.querySelector("main").replaceWith(page.querySelector("main"));
    }
    if (post(document) || !document.getElementById("waits")) {
      return;
    }
  } catch {
    // Out of reach for the moment; look again.
  }
  setTimeout(look, EVERY);
}

if (!post(document) && document.getElementById("waits")) {
  setTimeout(look, EVERY);
}
