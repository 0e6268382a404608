// One-time passwords (RFC 6238). Secrets become keys that scripts can use but not export.

const ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

// Base32 (RFC 4648) without padding.
function decode(text) {
  const bytes = [];
  let bits = 0;
  let value = 0;
  for (const letter of text) {
    const digit = ALPHABET.indexOf(letter);
    if (digit < 0) {
      throw new Error("This is not base32.");
    }
    value = ((value << 5) | digit) & 0xfff;
    bits += 5;
    if (bits >= 8) {
      bits -= 8;
      bytes.push((value >> bits) & 0xff);
    }
  }
  return new Uint8Array(bytes);
}

// The key of an allowed pairing, with the parameters of its codes.
export async function key({ secret, algorithm, digits, period }) {
  if (algorithm !== "SHA1" || !(digits >= 6 && digits <= 8) || !(period > 0)) {
    throw new Error("The server uses a kind of codes that this page does not support.");
  }
  const bytes = decode(secret);
  const key = await crypto.subtle.importKey("raw", bytes, { name: "HMAC", hash: "SHA-1" }, false, ["sign"]);
  bytes.fill(0);
  return { key, digits, period };
}

// In two groups, as people read it.
export const grouped = (text) => `${text.slice(0, text.length / 2)} ${text.slice(text.length / 2)}`;

// The code at this time in seconds, and for how many seconds it stays the same.
export async function code({ key, digits, period }, now) {
  const step = Math.floor(now / period);
  const counter = new DataView(new ArrayBuffer(8));
  counter.setBigUint64(0, BigInt(step));
  const mac = new DataView(await crypto.subtle.sign("HMAC", key, counter.buffer));
  const offset = mac.getUint8(mac.byteLength - 1) & 0xf;
  const number = mac.getUint32(offset) & 0x7fffffff;
  return { text: String(number % 10 ** digits).padStart(digits, "0"), left: (step + 1) * period - now, period };
}
