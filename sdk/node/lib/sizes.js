'use strict';
// Whether a payload is small, without writing it: what is, is written once, by whoever sends it.

/** Payloads of more bytes than this travel as memory, not in the message. */
const BODY_MIN = 1 << 20;
/** More is written to be measured. Looking at a value costs less than writing it, up to here. */
const VALUES = 2_000;
/** A character is at most six bytes of JSON: \u0000. */
const CHARACTERS = BODY_MIN / 8;

/** True: its JSON has less than BODY_MIN bytes, for certain. False: nobody knows. */
function isSmall(value) {
  const left = { values: VALUES, characters: CHARACTERS };
  return fits(value, left);
}

function fits(value, left) {
  left.values -= 1;
  if (left.values < 0) return false;
  if (value === null || typeof value === 'number' || typeof value === 'boolean' || value === undefined) return true;
  if (typeof value === 'string') return counts(value, left);
  if (typeof value !== 'object') return false;
  // Of holes `every` knows nothing, and each is written as null.
  if (Array.isArray(value)) return value.length <= left.values && value.every((one) => fits(one, left));
  const prototype = Object.getPrototypeOf(value);
  // A class may have toJSON, and arrays of bytes have a key for each.
  if ((prototype !== Object.prototype && prototype !== null) || typeof value.toJSON === 'function') return false;
  for (const key in value) {
    if (!counts(key, left) || !fits(value[key], left)) return false;
  }
  return true;
}

function counts(text, left) {
  left.characters -= text.length;
  return left.characters >= 0;
}

module.exports = { BODY_MIN, isSmall };
