// Makes the pages livelier. All of them work without it.
"use strict";

const dialog = document.getElementById("second");
const alertBox = document.getElementById("alert");
const told = document.getElementById("told");
const LOOK_AGAIN = 2000;

function tell(text) {
  if (told.textContent !== text) told.textContent = text;
}

function showNumber(number) {
  const box = document.getElementById("number");
  if (number && !box.hidden && box.querySelector("strong").textContent === number) return;
  box.querySelector("strong").textContent = number || "";
  box.hidden = !number;
}

// One request to the gate at a time; a code that is typed meanwhile goes after it.
let queue = Promise.resolve();

function send(form, otp, challenge) {
  queue = queue.then(() => post(form, otp, challenge)).catch(() => {
    alertBox.textContent = "We cannot be reached. Check your connection, and try again.";
  });
  return queue;
}

async function post(form, otp, challenge) {
  // The approval belongs to the form as it is without code and challenge.
  const body = new URLSearchParams({ csrf: form.elements.csrf.value });
  if (otp !== undefined) body.set("otp", otp);
  if (challenge) body.set("toopher_challenge", challenge);
  const response = await fetch("/second", {
    method: "POST",
    body: body.toString(),
    // Word for word as a form without a script says it: this, too, is part of the request that is approved.
    headers: { "Accept": "application/json", "Content-Type": "application/x-www-form-urlencoded" },
  });
  // Logged in, or not half way any more.
  if (response.redirected) return location.replace(response.url);
  if (response.headers.get("content-type") !== "application/json") return elsewhere();
  const answer = await response.json();
  if (answer.code === "pending") return waitFor(answer);
  if (answer.code === "enrolment_required") return location.replace("/enrol");
  if (answer.code === "challenge_invalid") return late();
  if (answer.code === "denied") return denied();
  alertBox.textContent = "";
  alertBox.textContent = answer.message;
  if (otp === undefined) {
    tell("");
    again("Ask again");
  }
}

// The form was not taken: perhaps another tab has logged in or out since.
async function elsewhere() {
  const place = await fetch("/account");
  if (new URL(place.url).pathname !== "/second") return location.replace(place.url);
  alertBox.textContent = "Something is out of order. Load this page again, or try again in a moment.";
  again("Ask again");
}

let waiting;

function waitFor(answer) {
  if (waiting === answer.challenge) return;
  waiting = answer.challenge;
  alertBox.textContent = "";
  again(null);
  tell("We asked your phone.");
  showNumber(answer.number);
  // So that loading the page again asks nobody again.
  history.replaceState(null, "", "/second/wait/" + waiting);
  watch("/approvals/" + waiting);
}

function watch(url) {
  const source = new EventSource(url);
  source.addEventListener("status", (event) => {
    const standing = JSON.parse(event.data);
    if (standing.status !== "pending") source.close();
    settle(standing);
  });
  source.addEventListener("error", () => {
    // A broken connection is mended by the browser; an answer that is no stream of events is not.
    if (source.readyState === EventSource.CLOSED) setTimeout(() => look(url), LOOK_AGAIN);
  });
}

async function look(url) {
  const response = await fetch(url).catch(() => null);
  if (response && response.status === 401) return location.reload();
  if (response && response.ok) {
    const standing = await response.json();
    if (standing.status !== "pending") return settle(standing);
  }
  watch(url);
}

function settle(standing) {
  if (standing.status === "pending") return showNumber(standing.number);
  showNumber(null);
  if (standing.status === "denied") return denied();
  if (standing.status !== "granted") return late();
  tell("Your phone said yes. Logging in …");
  send(document.getElementById("ask") || dialog.querySelector("form"), undefined, waiting);
}

function denied() {
  waiting = undefined;
  showNumber(null);
  tell("It was denied on your phone. If it was not you who asked, change your password.");
  again("Ask again");
}

// The button that asks the phone, under this name; or no button.
function again(name) {
  const form = document.getElementById("ask");
  if (!form) return;
  form.hidden = !name;
  if (name) document.getElementById("ask-button").textContent = name;
}

function late() {
  waiting = undefined;
  showNumber(null);
  const boxes = [...dialog.querySelectorAll("input.code")];
  // Somebody is typing: that must not be lost.
  if (boxes.some((box) => box.value)) {
    tell("Your phone did not answer. Go on with the code.");
    return again("Ask again");
  }
  location.replace("/second/late");
}

// In place of the phone: the page gives up when nobody has typed for so long.
function giveUpAfter(seconds) {
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
  // Escape leads back to the login page.
  dialog.addEventListener("cancel", (event) => {
    event.preventDefault();
    location.assign("/login");
  });
  for (const form of dialog.querySelectorAll("form.otp")) {
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      const box = form.elements.otp;
      const button = form.querySelector("button");
      button.disabled = true;
      await send(form, box.value, waiting);
      button.disabled = false;
      box.value = "";
      box.focus();
    });
  }
  const ask = document.getElementById("ask");
  if (ask) {
    ask.addEventListener("submit", (event) => {
      event.preventDefault();
      tell("Asking your phone …");
      again(null);
      send(ask);
    });
  }
  const { challenge, seconds } = dialog.dataset;
  if (challenge) waitFor({ challenge, number: document.querySelector("#number strong").textContent });
  if ("allowed" in dialog.dataset) tell("Your phone said yes. Logging in …");
  if ("ask" in dialog.dataset) {
    tell("Asking your phone …");
    again(null);
    send(ask);
  }
  if (seconds) giveUpAfter(Number(seconds));
}

// A page that only waits.
if (told && told.dataset.poll) {
  const poll = async () => {
    const response = await fetch(told.dataset.poll).catch(() => null);
    if (response && response.ok && (await response.text()) !== "pending") return location.reload();
    setTimeout(poll, LOOK_AGAIN);
  };
  setTimeout(poll, LOOK_AGAIN);
}
