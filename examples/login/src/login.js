// Updates the pages without reloading. All of them work without this script.
"use strict";

const dialog = document.getElementById("second");
const alertBox = document.getElementById("alert");
const messageBox = document.getElementById("message");
const RETRY_DELAY = 2000;

function showMessage(text) {
  if (messageBox.textContent !== text) messageBox.textContent = text;
}

function showNumber(number) {
  const box = document.getElementById("number");
  if (number && !box.hidden && box.querySelector("strong").textContent === number) return;
  box.querySelector("strong").textContent = number || "";
  box.hidden = !number;
}

// Sends one form at a time; a code that is typed meanwhile is sent after it.
let queue = Promise.resolve();

function send(form, otp, token) {
  queue = queue.then(() => post(form, otp, token)).catch(() => {
    alertBox.textContent = "The site cannot be reached. Check your connection, and try again.";
  });
  return queue;
}

async function post(form, otp, token) {
  // The approval is bound to the form without the code and the token.
  const body = new URLSearchParams({ csrf: form.elements.csrf.value });
  if (otp !== undefined) body.set("otp", otp);
  if (token) body.set("toopher_approval", token);
  const response = await fetch("/second", {
    method: "POST",
    body: body.toString(),
    // The content type is part of the approved request, so it must be the one of a form without scripts.
    headers: { "Accept": "application/json", "Content-Type": "application/x-www-form-urlencoded" },
  });
  // The user is logged in, or the login has expired.
  if (response.redirected) return location.replace(response.url);
  if (response.headers.get("content-type") !== "application/json") return rejectedForm();
  const answer = await response.json();
  if (answer.code === "pending") return waitFor(answer);
  if (answer.code === "enrollment_required") return location.replace("/enroll");
  if (answer.code === "approval_invalid") return late();
  if (answer.code === "denied") return denied();
  alertBox.textContent = "";
  alertBox.textContent = answer.message;
  if (otp === undefined) {
    showMessage("");
    showButton("Send another request");
  }
}

// The form was rejected: perhaps another tab has logged in or out.
async function rejectedForm() {
  const page = await fetch("/account");
  if (new URL(page.url).pathname !== "/second") return location.replace(page.url);
  alertBox.textContent = "Temporarily unavailable. Reload this page, or try again in a moment.";
  showButton("Send another request");
}

let pendingToken;

function waitFor(approval) {
  if (pendingToken === approval.approval_token) return;
  pendingToken = approval.approval_token;
  alertBox.textContent = "";
  showButton(null);
  showMessage("We sent a request to your phone.");
  showNumber(approval.number);
  // Reloading this address sends no second request.
  history.replaceState(null, "", "/second/wait/" + pendingToken);
  watch("/approvals/" + pendingToken);
}

function watch(url) {
  const source = new EventSource(url);
  source.addEventListener("status", (event) => {
    const approval = JSON.parse(event.data);
    if (approval.status !== "pending") source.close();
    update(approval);
  });
  source.addEventListener("error", () => {
    // The browser reconnects after a broken connection, but not after a response that is no event stream.
    if (source.readyState === EventSource.CLOSED) setTimeout(() => poll(url), RETRY_DELAY);
  });
}

async function poll(url) {
  const response = await fetch(url).catch(() => null);
  if (response && response.status === 401) return location.reload();
  if (response && response.ok) {
    const approval = await response.json();
    if (approval.status !== "pending") return update(approval);
  }
  watch(url);
}

function update(approval) {
  if (approval.status === "pending") return showNumber(approval.number);
  showNumber(null);
  if (approval.status === "denied") return denied();
  if (approval.status !== "granted") return late();
  showMessage("Approved on your phone. Logging in …");
  send(document.getElementById("request") || dialog.querySelector("form"), undefined, pendingToken);
}

function denied() {
  pendingToken = undefined;
  showNumber(null);
  showMessage("Denied on your phone. If you did not request it, change your password.");
  showButton("Send another request");
}

// Shows the button that requests an approval, with this label, or hides it.
function showButton(label) {
  const form = document.getElementById("request");
  if (!form) return;
  form.hidden = !label;
  if (label) document.getElementById("request-button").textContent = label;
}

function late() {
  pendingToken = undefined;
  showNumber(null);
  const inputs = [...dialog.querySelectorAll("input.code")];
  // Stays on the page while the user types a code.
  if (inputs.some((input) => input.value)) {
    showMessage("Your phone did not answer. Continue with the code.");
    return showButton("Send another request");
  }
  location.replace("/second/late");
}

// The time limit of a page without an approval. Typing restarts it.
function startTimeLimit(seconds) {
  let timer;
  const start = () => {
    clearTimeout(timer);
    timer = setTimeout(late, seconds * 1000);
  };
  dialog.addEventListener("input", start);
  start();
}

if (dialog) {
  dialog.close();
  dialog.showModal();
  // Escape leads to the login page.
  dialog.addEventListener("cancel", (event) => {
    event.preventDefault();
    location.assign("/login");
  });
  for (const form of dialog.querySelectorAll("form.otp")) {
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      const input = form.elements.otp;
      const button = form.querySelector("button");
      button.disabled = true;
      await send(form, input.value, pendingToken);
      button.disabled = false;
      input.value = "";
      input.focus();
    });
  }
  const request = document.getElementById("request");
  const sendRequest = () => {
    showMessage("Sending a request to your phone …");
    showButton(null);
    send(request);
  };
  if (request) {
    request.addEventListener("submit", (event) => {
      event.preventDefault();
      sendRequest();
    });
  }
  const { token, seconds } = dialog.dataset;
  if (token) waitFor({ approval_token: token, number: document.querySelector("#number strong").textContent });
  if ("granted" in dialog.dataset) showMessage("Approved on your phone. Logging in …");
  if ("request" in dialog.dataset) sendRequest();
  if (seconds) startTimeLimit(Number(seconds));
}

// A page that waits for the pairing.
if (messageBox && messageBox.dataset.poll) {
  const pollPairing = async () => {
    const response = await fetch(messageBox.dataset.poll).catch(() => null);
    if (response && response.ok && (await response.text()) !== "pending") return location.reload();
    setTimeout(pollPairing, RETRY_DELAY);
  };
  setTimeout(pollPairing, RETRY_DELAY);
}
