// The pending requests, and their answers.

import { Rejected, serverTime } from "./api.js";
import { $, button, confirm, el, name, notice, show, time, problem } from "./dom.js";

// How long the buttons to allow are disabled after a change of the list: the user may press what has just moved there.
const SETTLE = 600;

let current = [];
let settling;
// The requests that this page has answered.
const answered = new Set();

export function showRequests(requests, phone) {
  const fresh = requests.filter((request) => !current.some(({ id }) => id === request.id));
  const gone = current.filter((request) => !requests.some(({ id }) => id === request.id) && !answered.has(request.id));
  current = requests;
  for (const { requester, action, expires } of gone) {
    const why = expires <= serverTime() ? "Not answered in time: " : "Withdrawn by the site, or answered elsewhere: ";
    notice(why, name(action), " at ", name(requester), ".");
  }
  if (show($("requests"), requests.map((request) => ({ key: request.id, ...request })), (request) => card(request, phone))) {
    settle();
  }
  // The newest one is the first.
  for (const request of fresh.slice(0, 1)) {
    // Without the action: a long one would cover the request.
    notice(name(request.requester), " asks for your approval.");
  }
  showEmpty();
}

const EMPTY = {
  live: "No pending requests.",
  offline: "Without a connection this phone does not know whether a request is pending.",
};

// Shows a text if nothing is pending, or if that is unknown.
export function showEmpty() {
  $("no-requests").hidden = $("requests").childElementCount + $("pending-pairings").childElementCount > 0;
  $("no-requests").textContent = EMPTY[document.body.dataset.connection] ?? "Looking for requests …";
}

export function settle() {
  const buttons = document.querySelectorAll("#pending-pairings .main, #requests .main");
  buttons.forEach((allow) => allow.setAttribute("aria-disabled", "true"));
  clearTimeout(settling);
  settling = setTimeout(() => {
    document.querySelectorAll("#pending-pairings .main, #requests .main").forEach((allow) => allow.removeAttribute("aria-disabled"));
  }, SETTLE);
}

export const isSettling = (allow) => allow.getAttribute("aria-disabled") === "true";

// Updates the remaining time, and removes expired requests.
export function tickRequests(phone) {
  const now = serverTime();
  if (current.some((request) => request.expires <= now)) {
    showRequests(current.filter((request) => request.expires > now), phone);
  }
  for (const { id, expires } of current) {
    $(`left-${id}`).textContent = `Expires in ${time(expires - now)}. Without an answer it is denied.`;
  }
}

function card(request, phone) {
  const { id } = request;
  const since = new Date(request.created * 1000).toLocaleTimeString(undefined, { timeStyle: "short" });
  const row = (term, value, attributes) => el("div", attributes, el("dt", {}, term), el("dd", {}, value));
  const allow = el("button", { class: "main" }, "Allow");
  const deny = button("Deny", () => answer(request, false, form, phone));
  const form = el(
    "form",
    { "aria-labelledby": `title-${id}`, novalidate: "" },
    el("h3", { id: `title-${id}` }, name(request.requester), " asks"),
    el(
      "dl",
      {},
      // First, and the largest: the user decides about the action, and the buttons are behind the last line of it.
      row("What", name(request.action), { class: "what" }),
      row("Who", name(request.user)),
      row("Where", name(request.terminal || "no name")),
      row("Since", since),
    ),
    ...(request.number_required ? number(id) : []),
    ...(request.automation_allowed && !request.challenge_required ? [automate(id)] : []),
    el("div", { class: "buttons" }, deny, allow),
    el("p", { id: `left-${id}`, class: "quiet" }),
  );
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (!isSettling(allow)) {
      answer(request, true, form, phone);
    }
  });
  return el("li", { class: "card" }, form);
}

function number(id) {
  const input = el("input", {
    id: `number-${id}`,
    name: "number",
    class: "number",
    inputmode: "numeric",
    maxlength: "2",
    autocomplete: "off",
    "aria-describedby": `hint-${id} error-${id}`,
  });
  const error = el("p", { id: `error-${id}`, class: "error" });
  input.addEventListener("input", () => {
    error.replaceChildren();
    input.removeAttribute("aria-invalid");
  });
  return [
    el("label", { for: `number-${id}` }, "The number that the site shows"),
    input,
    el("p", { id: `hint-${id}`, class: "quiet" }, "You have one try. If the site shows no number, someone else is logging in: deny."),
    error,
  ];
}

function automate(id) {
  const box = el("input", { id: `automate-${id}`, name: "automate", type: "checkbox" });
  return el("label", { class: "check", for: `automate-${id}` }, box, "Automate here: answer further requests in the same way");
}

async function answer(request, allow, form, phone) {
  const { id } = request;
  const body = { automate: Boolean(form.elements.automate?.checked) };
  if (allow && request.number_required) {
    const input = form.elements.number;
    body.number = input.value.trim();
    if (!/^[0-9]{2}$/.test(body.number)) {
      $(`error-${id}`).textContent = "Type the two digits first.";
      input.setAttribute("aria-invalid", "true");
      input.focus();
      return;
    }
  }
  if (allow && request.challenge_required) {
    const text = [name(request.requester), " requires a second confirmation: ", name(request.action), ", as ", name(request.user), "."];
    if (!(await confirm(["Allow this?"], text, "Allow"))) {
      return;
    }
  }
  await phone.run(form, async () => {
    answered.add(id);
    try {
      report(request, allow, body, await phone.call(`requests/${id}/${allow ? "allow" : "deny"}`, body));
    } catch (error) {
      if (!(error instanceof Rejected && error.status === 409)) {
        answered.delete(id);
        throw error;
      }
      notice();
      problem("This request is no longer pending.");
    }
    await phone.refresh();
  });
}

function report(request, allow, { automate }, { granted, reason, automated_from_now_on: automated }) {
  const subject = [name(request.action), " at ", name(request.requester), "."];
  const further = automated ? " Further requests are answered in the same way." : automate ? " It cannot be automated here." : "";
  if (granted !== allow) {
    notice();
    problem(`${reason} Nothing was allowed. If you have mistyped it, start again at the site: `, ...subject);
    return;
  }
  notice(granted ? "Allowed: " : "Denied: ", ...subject, further);
}
