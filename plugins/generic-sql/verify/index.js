// Verifies the password hashes that SuperTokens has kept. The hashing itself is done by
// well-kept libraries: bcryptjs, hash-wasm (argon2), and scrypt and AES of Node.js. What is here says
// which of them a hash is for, and what SuperTokens makes of it.
import { createCipheriv, scrypt, timingSafeEqual } from "node:crypto";
import bcrypt from "bcryptjs";
import { argon2Verify } from "hash-wasm";

const isBcrypt = /^\$2[abxy]\$\d\d\$[./A-Za-z0-9]{53}$/;
const isArgon2 = /^\$argon2(id|i|d)\$/;
const isFirebase = /^\$f_scrypt\$/;

/** Says whether a hash is one that SuperTokens has kept. */
export function isCarried(hash) {
  return typeof hash === "string" && (isBcrypt.test(hash) || isArgon2.test(hash) || isFirebase.test(hash));
}

/**
 * Makes a function that verifies a password, as Better Auth's password.verify wants it.
 *
 * - firebaseSignerKey: base64, of hashes that came from Firebase by way of SuperTokens.
 * - fallback: verifies every other hash, such as those that the application makes itself.
 * - onVerified: is called with a carried hash and the password that was right for it, so
 *   that the application can replace the hash by one of its own. An error in it does not
 *   keep the person from signing in.
 */
export function verifier({ firebaseSignerKey, fallback, onVerified } = {}) {
  const signerKey = firebaseSignerKey ? Buffer.from(firebaseSignerKey, "base64") : undefined;
  return async ({ hash, password }) => {
    if (typeof password !== "string" || typeof hash !== "string") return false;
    if (!isCarried(hash)) return fallback ? Boolean(await fallback({ hash, password })) : false;
    let right = false;
    try {
      right = await verifyCarried(hash, password, signerKey);
    } catch {
      return false; // a damaged hash is nobody's
    }
    if (right && onVerified) {
      try {
        await onVerified({ hash, password });
      } catch (error) {
        console.error("stetl-verify: the hash was not replaced:", error?.message);
      }
    }
    return right;
  };
}

async function verifyCarried(hash, password, signerKey) {
  if (isBcrypt.test(hash)) {
    // SuperTokens verifies 2b, 2x and 2y as 2a, and the first 72 bytes of a password
    // alone; the library does the latter by itself.
    return bcrypt.compare(password, "$2a$" + hash.slice(4));
  }
  if (isArgon2.test(hash)) return argon2Verify({ hash, password });
  return signerKey ? verifyFirebase(hash, password, signerKey) : false;
}

// $f_scrypt$HASH$SALT$m=MEMORY$r=ROUNDS$s=SEPARATOR, the last three in any order. The hash
// is the signer key, encrypted with a key that scrypt makes of the password.
async function verifyFirebase(stored, password, signerKey) {
  const [hash, salt, ...rest] = stored.slice("$f_scrypt$".length).split("$");
  const parts = Object.fromEntries(rest.map((p) => [p[0], p.slice(2)]));
  const memory = Number(parts.m);
  const rounds = Number(parts.r);
  if (!(memory >= 1 && memory <= 20 && rounds >= 1 && rounds <= 64) || parts.s === undefined) return false;
  const bytes = (text) => Buffer.from(text, "base64");
  const key = await new Promise((resolve, reject) => {
    const options = { N: 2 ** memory, r: rounds, p: 1, maxmem: 256 * 2 ** memory * rounds };
    scrypt(password, Buffer.concat([bytes(salt), bytes(parts.s)]), 32, options, (error, made) => (error ? reject(error) : resolve(made)));
  });
  const cipher = createCipheriv("aes-256-ctr", key, Buffer.alloc(16));
  const made = Buffer.concat([cipher.update(signerKey), cipher.final()]);
  const want = bytes(hash);
  return made.length === want.length && timingSafeEqual(made, want);
}
