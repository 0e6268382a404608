// How things get onto the page. Names come from strangers: they are text, and never markup.

export const $ = (id) => document.getElementById(id);

export function el(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

// A name as its stranger wrote it, but for what is made to look like something else: controls, line ends, and marks that
// change the direction of writing or cannot be seen stand out.
export function name(text) {
  const plain = String(text).replace(/[\p{Cc}\p{Zl}\p{Zp}\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff]/gu, "\ufffd");
  return el("bdi", { class: "name" }, plain);
}

export function button(label, act, attributes = {}) {
  const element = el("button", { type: "button", ...attributes }, label);
  element.addEventListener("click", act);
  return element;
}

// Makes `list` show `items`, each under its key, and leaves alone what is there already: somebody may be typing in it.
// Says whether anything came or went.
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

const NEWS = 15_000;
let old;

// What has happened, for everybody to see and for screen readers to say. It is not news for long.
export function news(...parts) {
  $("news").replaceChildren(...parts);
  clearTimeout(old);
  old = setTimeout(() => $("news").replaceChildren(), NEWS);
}

// What went wrong, until something else is tried.
export function trouble(...parts) {
  $("trouble").replaceChildren(...parts);
}

// Asks for a second thought.
export function confirm(title, text, yes) {
  const dialog = $("confirm");
  if (dialog.open) {
    return Promise.resolve(false);
  }
  $("confirm-title").replaceChildren(...title);
  $("confirm-text").replaceChildren(...text);
  $("confirm-yes").textContent = yes;
  return new Promise((resolve) => {
    let sure = false;
    const close = () => dialog.close();
    const accept = () => {
      sure = true;
      dialog.close();
    };
    $("confirm-no").addEventListener("click", close);
    $("confirm-yes").addEventListener("click", accept);
    dialog.addEventListener("close", () => {
      $("confirm-no").removeEventListener("click", close);
      $("confirm-yes").removeEventListener("click", accept);
      resolve(sure);
    }, { once: true });
    dialog.showModal();
    $("confirm-no").focus();
  });
}

// Seconds, as people read them.
export function time(seconds) {
  const whole = Math.max(0, Math.ceil(seconds));
  return whole < 60 ? `${whole} s` : `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")} min`;
}
