// Helpers for the document. Names are untrusted: they are inserted as text, never as markup.

export const $ = (id) => document.getElementById(id);

export function el(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

const INVISIBLE =
  /(?! )[\p{C}\p{Z}\p{Default_Ignorable_Code_Point}\u2800\ufffc\u{13441}\u{13442}\u{16fe4}\u{1d159}]/gu;

// An untrusted name. Characters that could make it look like another one are marked, as `names.rs` does: control and
// format characters, unassigned and private ones, all that fonts show as nothing or as a blank, and blanks at the ends or
// in a row.
export function name(text) {
  const plain = String(text)
    .replace(INVISIBLE, "\ufffd")
    .replace(/ {2,}/g, (blanks) => " " + "\u2423".repeat(blanks.length - 1))
    .replace(/^ | $/g, "\u2423");
  return el("bdi", { class: "name" }, plain);
}

export function button(label, act, attributes = {}) {
  const element = el("button", { type: "button", ...attributes }, label);
  element.addEventListener("click", act);
  return element;
}

// Makes `list` show `items`, each with its key. Existing elements are kept, since the user may be typing in them. Returns
// whether elements were added or removed.
export function show(list, items, make) {
  const gone = new Map(Array.from(list.children, (child) => [child.dataset.key, child]));
  const known = new Map(gone);
  items.forEach((item) => gone.delete(item.key));
  let changed = gone.size > 0;
  for (const child of gone.values()) {
    const focused = child.contains(document.activeElement);
    child.remove();
    if (focused) {
      list.closest("section").querySelector("h2").focus();
    }
  }
  items.forEach((item, index) => {
    let child = known.get(item.key);
    if (!child) {
      child = make(item);
      child.dataset.key = item.key;
      changed = true;
    }
    if (list.children[index] !== child) {
      list.insertBefore(child, list.children[index] ?? null);
    }
  });
  return changed;
}

const NOTICE_TIME = 15_000;
let timer;

// Shows a message, which screen readers announce, for some seconds.
export function notice(...parts) {
  $("notice").replaceChildren(...parts);
  clearTimeout(timer);
  timer = setTimeout(() => $("notice").replaceChildren(), NOTICE_TIME);
}

// Shows an error until the next action.
export function problem(...parts) {
  $("problem").replaceChildren(...parts);
  delete $("problem").dataset.transient;
}

// Shows an error until the next action, or until the server responds.
export function transientProblem(text) {
  problem(text);
  $("problem").dataset.transient = "";
}

// Removes an error that ends when the server responds.
export function responded() {
  if ("transient" in $("problem").dataset) {
    problem();
  }
}

// Asks the user to confirm an action.
export function confirm(title, text, yes) {
  const dialog = $("confirm");
  if (dialog.open) {
    return Promise.resolve(false);
  }
  $("confirm-title").replaceChildren(...title);
  $("confirm-text").replaceChildren(...text);
  $("confirm-yes").textContent = yes;
  return new Promise((resolve) => {
    let confirmed = false;
    const close = () => dialog.close();
    const accept = () => {
      confirmed = true;
      dialog.close();
    };
    $("confirm-no").addEventListener("click", close);
    $("confirm-yes").addEventListener("click", accept);
    dialog.addEventListener("close", () => {
      $("confirm-no").removeEventListener("click", close);
      $("confirm-yes").removeEventListener("click", accept);
      resolve(confirmed);
    }, { once: true });
    dialog.showModal();
    $("confirm-no").focus();
  });
}

// Formats a duration.
export function time(seconds) {
  const whole = Math.max(0, Math.ceil(seconds));
  return whole < 60 ? `${whole} s` : `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")} min`;
}
