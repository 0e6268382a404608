// What waits for an answer: who asks for what, and from where.

import { Refused, serverTime } from "./api.js";
import { $, button, confirm, el, name, news, show, time, trouble } from "./dom.js";

// How long after something has come or gone nothing is allowed: the finger was on its way to what stood there before.
const SETTLE = 600;

let current = [];
let settling;

export function showRequests(requests, phone) {
  const fresh = requests.filter((request) => !current.some(({ id }) => id === request.id));
  current = requests;
  if (show($("requests"), requests.map((request) => ({ key: request.id, ...request })), (request) => card(request, phone))) {
    settle();
  }
  for (const request of fresh.slice(-1)) {
    news(name(request.requester), " asks: ", name(request.action), ".");
  }
  nothing();
}

// Says so where nothing waits.
export function nothing() {
  $("no-requests").hidden = $("requests").childElementCount + $("asks").childElementCount > 0;
}

export function settle() {
  const buttons = document.querySelectorAll("#asks .main, #requests .main");
  buttons.forEach((allow) => allow.setAttribute("aria-disabled", "true"));
  clearTimeout(settling);
  settling = setTimeout(() => {
    document.querySelectorAll("#asks .main, #requests .main").forEach((allow) => allow.removeAttribute("aria-disabled"));
  }, SETTLE);
}

export const isSettling = (allow) => allow.getAttribute("aria-disabled") === "true";

// Counts down, and takes away what has waited too long.
export function tickRequests(phone) {
  const now = serverTime();
  if (current.some((request) => request.expires <= now)) {
    showRequests(current.filter((request) => request.expires > now), phone);
  }
  for (const { id, expires } of current) {
    $(`left-${id}`).textContent = `Waits for ${time(expires - now)} more.`;
  }
}

function card(request, phone) {
  const { id } = request;
  const since = new Date(request.created * 1000).toLocaleTimeString(undefined, { timeStyle: "short" });
  const row = (term, value) => el("div", {}, el("dt", {}, term), el("dd", {}, value));
  const allow = el("button", { class: "main" }, "Allow");
  const deny = button("Deny", () => answer(request, false, form, phone));
  const form = el(
    "form",
    { "aria-labelledby": `title-${id}`, novalidate: "" },
    el("h3", { id: `title-${id}` }, name(request.requester), " asks"),
    el(
      "dl",
      {},
      row("Who", name(request.user)),
      row("What", name(request.action)),
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
  return [
    el("label", { for: `number-${id}` }, "The number that you see where you log in"),
    input,
    el("p", { id: `hint-${id}`, class: "quiet" }, "There is one try. If you see no number, somebody else is logging in: deny."),
    el("p", { id: `error-${id}`, class: "error" }),
  ];
}

function automate(id) {
  const box = el("input", { id: `automate-${id}`, name: "automate", type: "checkbox" });
  return el("label", { class: "check", for: `automate-${id}` }, box, "Automate here: answer the same from now on, without asking");
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
    const text = [name(request.requester), " wants you to confirm this twice: ", name(request.action), ", as ", name(request.user), "."];
    if (!(await confirm(["Allow this?"], text, "Allow"))) {
      return;
    }
  }
  await phone.doing(form, async () => {
    try {
      say(request, allow, body, await phone.call(`requests/${id}/${allow ? "allow" : "deny"}`, body));
    } catch (error) {
      if (!(error instanceof Refused && error.status === 409)) {
        throw error;
      }
      news();
      trouble("This does not wait for an answer any more.");
    }
    await phone.refresh();
  });
}

function say(request, allow, { automate }, { granted, reason, automated_from_now_on: automated }) {
  const what = [name(request.action), " at ", name(request.requester), "."];
  const further = automated ? " From now on without asking." : automate ? " It cannot be automated here." : "";
  if (granted !== allow) {
    news();
    trouble(`Denied. ${reason} Log in again, if it was you: `, ...what);
    return;
  }
  news(granted ? "Allowed: " : "Denied: ", ...what, further);
}
