// Parts of all pages that need a script: countdowns, buttons that copy and print, and the wait for a pairing.
"use strict";

const POLL_DELAY = 2000;

function formatTime(seconds) {
  const rest = String(seconds % 60).padStart(2, "0");
  return Math.floor(seconds / 60) + ":" + rest;
}

// Shows the remaining time in an element, and calls `ended` at the end. Returns a function that stops it.
function countDown(element, seconds, ended) {
  const end = Date.now() + seconds * 1000;
  let timer;
  const show = () => {
    const left = Math.max(0, Math.ceil((end - Date.now()) / 1000));
    element.textContent = formatTime(left);
    if (left > 0) {
      timer = setTimeout(show, 1000);
    } else if (ended) {
      ended();
    }
  };
  show();
  return () => clearTimeout(timer);
}

// Those of the dialog are counted down by its script.
for (const element of document.querySelectorAll("main > * > .countdown")) {
  if (!element.closest("dialog")) countDown(element, Number(element.dataset.seconds));
}

for (const button of document.querySelectorAll("[data-copy]")) {
  // Only pages with TLS, and those of this machine, may write to the clipboard.
  if (!navigator.clipboard) break;
  button.hidden = false;
  const label = button.textContent;
  button.addEventListener("click", async () => {
    const elements = [...document.querySelectorAll(button.dataset.copy)];
    const text = elements.map((element) => element.dataset.text || element.textContent).join("\n");
    const copied = await navigator.clipboard.writeText(text).then(() => true, () => false);
    button.textContent = copied ? "Copied" : "Not copied: select the text instead";
    setTimeout(() => { button.textContent = label; }, 4000);
  });
}

for (const button of document.querySelectorAll("[data-print]")) {
  button.hidden = false;
  button.addEventListener("click", () => window.print());
}

// A page that waits for the pairing.
const pairing = document.querySelector("[data-poll]");
if (pairing) {
  const poll = async () => {
    const response = await fetch(pairing.dataset.poll).catch(() => null);
    if (response && response.ok && (await response.text()) !== "pending") return location.reload();
    setTimeout(poll, POLL_DELAY);
  };
  setTimeout(poll, POLL_DELAY);
}
