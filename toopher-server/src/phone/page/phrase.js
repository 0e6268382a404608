// The words for pairing with a site, and their QR code.

import { serverTime } from "./api.js";
import { $, notice, time } from "./dom.js";

const SVG = "http://www.w3.org/2000/svg";
const QUIET = 4;

let expires = 0;

export async function newPhrase(phone) {
  const response = await phone.call("phrases", {});
  expires = response.expires;
  $("words").textContent = response.phrase;
  draw(response.qr);
  $("phrase").hidden = false;
  $("new-phrase").textContent = "Show other words";
  tickPhrase();
  $("phrase").scrollIntoView({ block: "nearest" });
}

export function hidePhrase() {
  $("phrase").hidden = true;
  $("words").textContent = "";
  $("new-phrase").textContent = "Show the words";
}

export const isPhraseShown = () => !$("phrase").hidden;

export function tickPhrase() {
  if (!isPhraseShown()) {
    return;
  }
  const left = expires - serverTime();
  if (left <= 0) {
    hidePhrase();
    notice("The words have expired. Show other words, if the site still asks for them.");
    return;
  }
  $("phrase-left").textContent = `Valid for ${time(left)}, and for one site. Then show other words.`;
}

// Rows of `1` for dark and `0` for light. Always black on white with a margin, which scanners need.
function draw(rows) {
  const size = rows.length + 2 * QUIET;
  const dark = rows.flatMap((row, y) => [...row].map((module, x) => (module === "1" ? `M${x + QUIET},${y + QUIET}h1v1h-1z` : "")));
  const shape = (tag, attributes) => {
    const element = document.createElementNS(SVG, tag);
    Object.entries(attributes).forEach(([name, value]) => element.setAttribute(name, value));
    return element;
  };
  $("qr").setAttribute("viewBox", `0 0 ${size} ${size}`);
  $("qr").replaceChildren(shape("rect", { width: size, height: size, fill: "#fff" }), shape("path", { d: dark.join(""), fill: "#000" }));
}
