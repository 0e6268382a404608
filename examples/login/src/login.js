// The dialog for a second factor, without reloading. All of it works without this script.
"use strict";

const dialog = document.getElementById("second");
const alertBox = document.getElementById("alert");
const messageBox = document.getElementById("message");
const RETRY_DELAY = 2000;
const DENIED = "Not approved: it was denied on your phone, or another number was typed there. " +
  "If you did not request it, deny it, and change your password.";

function showMessage(text) {
  if (messageBox && messageBox.textContent !== text) messageBox.textContent = text;
}

function showNumber(number) {
  const box = document.getElementById("number");
  if (!box || (number && !box.hidden && box.querySelector("strong").textContent === number)) return;
  box.querySelector("strong").textContent = number || "";
  box.hidden = !number;
}

// Shows when the request expires, or hides it.
let stopExpiry = () => {};

function showExpiry(seconds) {
  const box = document.getElementById("expires");
  if (!box) return;
  stopExpiry();
  box.hidden = seconds === undefined;
  if (seconds !== undefined) stopExpiry = countDown(box.querySelector(".countdown"), seconds);
}

// Sends one form at a time; a code that is typed meanwhile is sent after it.
let queue = Promise.resolve();

function send(form, fields) {
  queue = queue.then(() => post(form, fields)).catch(() => {
    alertBox.textContent = "The site cannot be reached. Check your connection, and try again.";
    if (fields.otp === undefined) showButton("Send another request");
  });
  return queue;
}

async function post(form, { otp, token, again }) {
  // The approval is bound to the form without the code and the token.
  const body = new URLSearchParams({ csrf: form.elements.csrf.value });
  if (otp !== undefined) body.set("otp", otp);
  if (token) body.set("toopher_approval", token);
  if (again) body.set("again", "1");
  const response = await fetch(dialog.dataset.path, {
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
    pendingToken = undefined;
    showMessage("");
    showButton("Send another request");
  }
}

// The form was rejected: perhaps another tab has logged in or out.
async function rejectedForm() {
  const page = await fetch("/account");
  if (new URL(page.url).pathname !== dialog.dataset.path) return location.replace(page.url);
  alertBox.textContent = "Temporarily unavailable. Reload this page, or try again in a moment.";
  showButton("Send another request");
}

let pendingToken;

function waitFor(approval) {
  if (pendingToken === approval.approval_token) return;
  pendingToken = approval.approval_token;
  alertBox.textContent = "";
  showButton(null);
  document.getElementById("again").hidden = false;
  showMessage("We sent a request to your phone.");
  showNumber(approval.number);
  // Reloading this address sends no second request.
  history.replaceState(null, "", dialog.dataset.path + "/wait/" + pendingToken);
  watch(pendingToken);
}

function watch(token) {
  const url = "/approvals/" + token;
  const source = new EventSource(url);
  source.addEventListener("status", (event) => {
    const approval = JSON.parse(event.data);
    if (approval.status !== "pending" || token !== pendingToken) source.close();
    update(token, approval);
  });
  source.addEventListener("error", () => {
    // The browser reconnects after a broken connection, but not after a response that is no event stream.
    if (source.readyState === EventSource.CLOSED) setTimeout(() => poll(url, token), RETRY_DELAY);
  });
}

async function poll(url, token) {
  const response = await fetch(url).catch(() => null);
  if (response && response.status === 401) return location.reload();
  if (response && response.ok) {
    const approval = await response.json();
    if (approval.status !== "pending") return update(token, approval);
  }
  if (token === pendingToken) watch(token);
}

function update(token, approval) {
  // Another request has replaced this one.
  if (token !== pendingToken) return;
  if (approval.status === "pending") {
    showExpiry(approval.expires_in);
    return showNumber(approval.number);
  }
  endWait();
  if (approval.status === "denied") return denied();
  if (approval.status !== "granted") return late();
  showMessage("Approved on your phone. Logging in …");
  send(document.getElementById("request") || dialog.querySelector("form"), { token });
}

function endWait() {
  showNumber(null);
  showExpiry(undefined);
  document.getElementById("again").hidden = true;
}

function denied() {
  pendingToken = undefined;
  endWait();
  showMessage(DENIED);
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
  const token = pendingToken;
  pendingToken = undefined;
  if (messageBox) endWait();
  const inputs = [...dialog.querySelectorAll("input.code")];
  // Stays on the page while the user types a code.
  if (inputs.some((input) => input.value)) {
    showMessage("Your phone did not answer. Continue with the code.");
    return showButton("Send another request");
  }
  location.replace(dialog.dataset.path + "/late" + (token ? "?approval=" + token : ""));
}

// The time limit of a page without an approval. Typing restarts it.
function startTimeLimit(seconds) {
  const box = document.getElementById("limit");
  box.hidden = false;
  let stop = () => {};
  const start = () => {
    stop();
    stop = countDown(box.querySelector(".countdown"), seconds, late);
  };
  dialog.addEventListener("input", start);
  start();
}

if (dialog) {
  dialog.close();
  dialog.showModal();
  const leaves = { "/second": "/login", "/confirm": "/account" };
  dialog.addEventListener("cancel", (event) => {
    event.preventDefault();
    location.assign(leaves[dialog.dataset.path]);
  });
  for (const form of dialog.querySelectorAll("form.otp")) {
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      const input = form.elements.otp;
      const button = form.querySelector("button");
      button.disabled = true;
      await send(form, { otp: input.value, token: pendingToken });
      button.disabled = false;
      input.value = "";
      input.focus();
    });
  }
  const request = document.getElementById("request");
  const sendRequest = () => {
    showMessage("Sending a request to your phone …");
    showButton(null);
    send(request, {});
  };
  const again = document.getElementById("again");
  if (request) {
    request.addEventListener("submit", (event) => {
      event.preventDefault();
      sendRequest();
    });
    again.addEventListener("submit", (event) => {
      event.preventDefault();
      const token = pendingToken;
      pendingToken = undefined;
      endWait();
      showMessage("Sending another request to your phone …");
      send(again, { token, again: true });
    });
  }
  const { token, limit } = dialog.dataset;
  if (token) waitFor({ approval_token: token, number: document.querySelector("#number strong").textContent });
  if ("granted" in dialog.dataset) showMessage("Approved on your phone. Logging in …");
  if ("request" in dialog.dataset) sendRequest();
  if (limit) startTimeLimit(Number(limit));
}
