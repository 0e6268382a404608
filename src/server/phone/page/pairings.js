// The pairings of this phone: those that ask to be one, and the codes of the others.

import { skew } from "./api.js";
import { code, key } from "./codes.js";
import { $, button, confirm, el, name, news, show, time, trouble } from "./dom.js";
import { isSettling, nothing, settle } from "./requests.js";
import * as store from "./store.js";

// The server accepts the codes of two steps before and after.
const TOLERABLE = 60;

// How to compute the code of each open entry.
const open = new Map();

// `pairings` are the server's, or null while it has not said; `keys` are this phone's.
export function showPairings(pairings, keys, phone) {
  const pending = (pairings ?? []).filter((pairing) => pairing.pending);
  if (pairings && show($("asks"), pending.map((pairing) => ({ key: pairing.id, ...pairing })), (pairing) => ask(pairing, phone))) {
    settle();
  }
  nothing();
  const enabled = new Map((pairings ?? []).filter((pairing) => !pairing.pending).map((pairing) => [pairing.id, pairing]));
  const entries = keys.map((entry) => ({ ...entry, state: !pairings || enabled.delete(entry.id) ? "good" : "ended" }));
  entries.push(...Array.from(enabled.values(), (pairing) => ({ ...pairing, state: "no key" })));
  show($("codes"), entries.map((entry) => ({ ...entry, key: `${entry.id} ${entry.state}`, hmac: entry.key })), (entry) => line(entry, phone));
  $("no-codes").hidden = entries.length > 0;
  const off = Math.round(skew());
  $("skew").hidden = Math.abs(off) <= TOLERABLE;
  $("skew").textContent = `The clock of this device is ${Math.abs(off)} s ${off > 0 ? "behind" : "ahead of"} the server's, so codes may not be accepted. Let it set its time by itself.`;
}

function ask(pairing, phone) {
  const item = el(
    "li",
    { class: "card" },
    el("h3", {}, "Pair with ", name(pairing.requester), "?"),
    el("p", {}, "It will ask this phone when somebody logs in as ", name(pairing.user), ". Allow it only if you are pairing just now."),
    el(
      "div",
      { class: "buttons" },
      button("Deny", () => phone.doing(item, async () => {
        await phone.call(`pairings/${pairing.id}/deny`, {});
        news("Not paired with ", name(pairing.requester), ".");
        await phone.refresh();
      })),
      button("Allow", ({ currentTarget }) => isSettling(currentTarget) || phone.doing(item, () => allow(pairing, phone)), { class: "main" }),
    ),
  );
  return item;
}

async function allow(pairing, phone) {
  try {
    await store.probe();
  } catch (error) {
    trouble(`This browser cannot keep the key that the codes need (${error.message}), so nothing was allowed. Make room, or use another browser.`);
    return;
  }
  const given = await phone.call(`pairings/${pairing.id}/allow`, {});
  try {
    const { requester, user } = pairing;
    await store.keep({ id: pairing.id, requester, user, ...(await key(given)) });
    news("Paired with ", name(requester), ".");
  } catch (error) {
    news();
    trouble(
      name(pairing.requester),
      ` is paired, but this phone could not keep the key of its codes (${error.message}), and the server gives it once. Remove the pairing below, and pair again.`,
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
    panel.append(el("p", {}, "The server knows no such pairing of this phone. Its codes are no longer asked for, unless it is of an earlier registration."));
  }
  if (state === "no key") {
    panel.append(el("p", {}, "This phone has no key for it, and can show no codes. It can still allow and deny."));
  } else {
    const shown = el("p", { class: "code", "aria-hidden": "true" });
    const spoken = el("p", { class: "unseen" });
    const left = el("p", { class: "quiet left" });
    const bar = el("progress", { max: entry.period, "aria-hidden": "true" });
    panel.append(shown, spoken, bar, left, button("Copy", () => copy(shown.textContent)));
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

// Shows the codes of this moment.
export async function tickCodes() {
  for (const [item, how] of open) {
    if (!item.isConnected) {
      open.delete(item);
      continue;
    }
    const { text, left } = await code(how, Date.now() / 1000);
    if (item.shown.textContent !== text) {
      item.shown.textContent = text;
      item.spoken.textContent = [...text].join(" ");
    }
    item.left.textContent = `${time(left)} left`;
    item.bar.value = left;
  }
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    news("The code is copied.");
  } catch {
    trouble("This browser does not let the page copy. Type the code instead.");
  }
}

async function remove(entry, item, phone) {
  const text = entry.state === "ended"
    ? "The key is removed from this phone, and cannot be had again."
    : "This phone will show no codes for it any more, and will not be asked. You may not be able to log in there until you have paired again.";
  if (!(await confirm(["Remove ", name(entry.requester), "?"], [text], "Remove"))) {
    return;
  }
  await phone.doing(item, async () => {
    if (entry.state !== "ended") {
      await phone.call(`pairings/${entry.id}/remove`, {});
    }
    await store.forget(entry.id);
    news("Removed: ", name(entry.requester), ".");
    await phone.changed();
  });
}
