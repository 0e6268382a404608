// A pairing to be taken: the page was opened by the link of a QR code or a text message.

import { Refused } from "./api.js";
import { trouble } from "./dom.js";

let claim = null;

// Whoever has the claim can take the pairing, so it does not stay in the address and the history.
export function read() {
  claim = new URLSearchParams(location.hash.slice(1)).get("claim") ?? claim;
  if (location.hash) {
    history.replaceState(null, "", location.pathname + location.search);
  }
}

// Takes it once. It then waits to be allowed, like any other.
export async function take(phone) {
  const taken = claim;
  if (taken === null) {
    return;
  }
  try {
    await phone.call("claims", { claim: taken });
  } catch (error) {
    if (!(error instanceof Refused)) {
      throw error;
    }
    trouble("The link does not work any more: it is too old, or was used already. Ask the site for another one.");
  }
  // Another one may have come meanwhile.
  if (claim === taken) {
    claim = null;
  }
}
