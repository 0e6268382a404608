// The claim of a pairing, in the link of a QR code or a text message.

import { Rejected } from "./api.js";
import { problem } from "./dom.js";

let claim = null;

const claimOf = (link) => new URLSearchParams(link.slice(link.indexOf("#") + 1)).get("claim");

// Anyone with the claim can take the pairing, so it is removed from the URL and the history.
export function read() {
  claim = claimOf(location.hash) ?? claim;
  if (location.hash) {
    history.replaceState(null, "", location.pathname + location.search);
  }
}

// Reads a link that the user has pasted. Returns whether it is the link of a pairing.
export function paste(link) {
  const pasted = claimOf(link.trim());
  claim = pasted || claim;
  return Boolean(pasted);
}

// Sends the claim once. The user still has to allow the pairing.
export async function take(phone) {
  const taken = claim;
  if (taken === null) {
    return;
  }
  try {
    await phone.call("claims", { claim: taken });
    problem();
  } catch (error) {
    if (!(error instanceof Rejected)) {
      throw error;
    }
    problem("The link is no longer valid: it has expired, or was used before. Request another one from the site.");
  }
  // The page may have received another claim during the call.
  if (claim === taken) {
    claim = null;
  }
}
