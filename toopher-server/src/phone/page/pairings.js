// The pairings of this phone: pending ones, and the codes of the others.

import { Rejected, serverTime, skew } from "./api.js";
import { code, grouped, key } from "./codes.js";
import { $, button, confirm, el, name, notice, show, time, problem } from "./dom.js";
import { isSettling, settle, showEmpty } from "./requests.js";
import * as store from "./store.js";

// The codes of other apps on this device are as wrong as its clock. The server accepts two steps before and after the
// current one.
const MAX_SKEW = 60;

// The key and the parameters of each expanded entry.
const open = new Map();
// The pairings that wait for an answer.
let waiting = [];

// `pairings` are those of the server, or null before its first response; `keys` are those of this phone.
export function showPairings(pairings, keys, phone) {
  const pending = (pairings ?? []).filter((pairing) => pairing.pending && pairing.expires > serverTime());
  waiting = pending;
  if (pairings && show($("pending-pairings"), pending.map((pairing) => ({ key: pairing.id, ...pairing })), (pairing) => ask(pairing, phone))) {
    settle();
  }
  showEmpty();
  const enabled = new Map((pairings ?? []).filter((pairing) => !pairing.pending).map((pairing) => [pairing.id, pairing]));
  const entries = keys.map((entry) => ({ ...entry, state: !pairings || enabled.delete(entry.id) ? "good" : "ended" }));
  entries.push(...Array.from(enabled.values(), (pairing) => ({ ...pairing, state: "no key" })));
  show($("codes"), entries.map((entry) => ({ ...entry, key: `${entry.id} ${entry.state}`, hmac: entry.key })), (entry) => line(entry, phone));
  $("no-codes").hidden = entries.length > 0;
  const off = skew();
  $("skew").hidden = Math.abs(off) <= MAX_SKEW;
  $("skew").textContent = `The clock of this device is about ${Math.round(Math.abs(off) / 60)} min ${off > 0 ? "behind" : "ahead of"} the server's. The codes are computed with the server's time, so they are right. Set the clock to network time for other apps.`;
}

// Updates the remaining time of pending pairings, and removes expired ones.
export function tickPairings(pairings, keys, phone) {
  const now = serverTime();
  const expired = waiting.filter(({ expires }) => expires <= now);
  if (expired.length > 0) {
    showPairings(pairings, keys, phone);
    notice("The pairing with ", name(expired[0].requester), " was not allowed in time. Start again at the site.");
  }
  for (const { id, expires } of waiting) {
    $(`left-${id}`).textContent = `Expires in ${time(expires - now)}. Then start again at the site.`;
  }
}

function ask(pairing, phone) {
  const item = el(
    "li",
    { class: "card" },
    el("h3", {}, "Pair with ", name(pairing.requester), "?"),
    el("p", {}, "It will send a request to this phone when someone logs in as ", name(pairing.user), ". Only allow it if you have just started the pairing."),
    el(
      "div",
      { class: "buttons" },
      button("Deny", () => phone.run(item, () => unlessGone(phone, async () => {
        await phone.call(`pairings/${pairing.id}/deny`, {});
        notice("Not paired with ", name(pairing.requester), ".");
        await phone.refresh();
      }))),
      button("Allow", ({ currentTarget }) => isSettling(currentTarget) || phone.run(item, () => unlessGone(phone, () => allow(pairing, phone))), { class: "main" }),
    ),
    el("p", { id: `left-${pairing.id}`, class: "quiet" }),
  );
  return item;
}

// Answers a pairing that may have ended.
async function unlessGone(phone, answer) {
  try {
    await answer();
  } catch (error) {
    if (!(error instanceof Rejected && error.status === 404)) {
      throw error;
    }
    problem("This pairing is no longer pending: it has expired, or another phone was paired. Start again at the site.");
    await phone.refresh();
  }
}

async function allow(pairing, phone) {
  try {
    await store.probe();
  } catch (error) {
    problem(`This browser cannot store the key of the codes (${error.message}), so the pairing was not allowed. Free some storage, or use another browser.`);
    return;
  }
  const response = await phone.call(`pairings/${pairing.id}/allow`, {});
  try {
    const { requester, user } = pairing;
    await store.putKey({ id: pairing.id, requester, user, ...(await key(response)) });
    notice("Paired with ", name(requester), ".");
  } catch (error) {
    notice();
    problem(
      name(pairing.requester),
      ` is paired, but this phone could not store the key of its codes (${error.message}), and the server sends it only once. Remove the pairing below, and pair again.`,
    );
  }
  await phone.changed();
}

function line(entry, phone) {
  const { id, state } = entry;
  const panel = el("div", { id: `panel-${id}`, class: "panel", hidden: "" });
  const toggle = button(name(entry.requester), () => (panel.hidden ? unfold() : fold()), {
    class: "line",
    "aria-expanded": "false",
    "aria-controls": panel.id,
  });
  toggle.append(el("span", { class: "quiet" }, name(entry.user)));
  const item = el("li", { class: "card" }, el("h3", {}, toggle), panel);
  if (state === "ended") {
    panel.append(el("p", {}, "The server has no such pairing of this phone. Its codes are no longer valid, unless it belongs to an earlier registration."));
  }
  if (state === "no key") {
    panel.append(el("p", {}, "This phone has no key for it, and cannot show codes. It can still allow and deny requests."));
  } else {
    const shown = el("p", { class: "code", "aria-hidden": "true" });
    const spoken = el("p", { class: "unseen" });
    const left = el("p", { class: "quiet left" });
    const bar = el("progress", { max: entry.period, "aria-hidden": "true" });
    panel.append(shown, spoken, bar, left, button("Copy", () => copy(item.code)));
    Object.assign(item, { shown, spoken, left, bar });
  }
  panel.append(button("Remove", () => remove(entry, item, phone), { class: "danger" }));

  function unfold() {
    panel.hidden = false;
    toggle.setAttribute("aria-expanded", "true");
    if (item.shown) {
      open.set(item, { key: entry.hmac, digits: entry.digits, period: entry.period });
      tickCodes();
    }
  }
  function fold() {
    panel.hidden = true;
    toggle.setAttribute("aria-expanded", "false");
    open.delete(item);
  }
  return item;
}

// Shows the current codes.
export async function tickCodes() {
  for (const [item, parameters] of open) {
    if (!item.isConnected) {
      open.delete(item);
      continue;
    }
    const { text, left } = await code(parameters, serverTime());
    if (item.code !== text) {
      item.code = text;
      item.shown.textContent = grouped(text);
      item.spoken.textContent = [...text].join(" ");
    }
    item.left.textContent = `${time(left)} left`;
    item.bar.value = left;
  }
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    notice("The code is copied.");
  } catch {
    problem("This browser does not allow the page to copy. Type the code instead.");
  }
}

async function remove(entry, item, phone) {
  const text = entry.state === "ended"
    ? "The key is deleted from this phone, and cannot be restored."
    : "This phone will show no more codes for it, and receive no more requests. You may not be able to log in there until you have paired again.";
  if (!(await confirm(["Remove ", name(entry.requester), "?"], [text], "Remove"))) {
    return;
  }
  await phone.run(item, async () => {
    if (entry.state !== "ended") {
      await phone.call(`pairings/${entry.id}/remove`, {});
    }
    await store.deleteKey(entry.id);
    notice("Removed: ", name(entry.requester), ".");
    await phone.changed();
  });
}
