import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { argon2d } from "hash-wasm";
import { isCarried, verifier } from "../index.js";

// Accounts of real SuperTokens databases, one for each kind of hash.
const vectors = JSON.parse(readFileSync(new URL("vectors.json", import.meta.url)));

for (const { hash, password, signerKey } of vectors) {
  test(`${hash.slice(0, 12)}… with ${Buffer.byteLength(password)} bytes`, async () => {
    const verify = verifier({ firebaseSignerKey: signerKey });
    assert.equal(await verify({ hash, password }), true);
    assert.equal(await verify({ hash, password: "x" + password }), false);
    assert.equal(await verify({ hash, password: "" }), false);
    assert.equal(isCarried(hash), true);
  });
}

test("bcrypt knows the first 72 bytes of a password", async () => {
  const { hash, password } = vectors.find((v) => v.hash.startsWith("$2") && Buffer.byteLength(v.password) > 72);
  const verify = verifier();
  assert.equal(await verify({ hash, password: password + " and more" }), true);
  assert.equal(await verify({ hash, password: password.slice(0, 71) }), false);
});

test("argon2d", async () => {
  const hash = await argon2d({ password: "secret", salt: "0123456789abcdef", memorySize: 1024, iterations: 2, parallelism: 1, hashLength: 32, outputType: "encoded" });
  assert.match(hash, /^\$argon2d\$/);
  assert.equal(await verifier()({ hash, password: "secret" }), true);
  assert.equal(await verifier()({ hash, password: "Secret" }), false);
});

test("without the signer key nobody of Firebase gets in", async () => {
  const { hash, password } = vectors.find((v) => v.hash.startsWith("$f_scrypt"));
  assert.equal(await verifier()({ hash, password }), false);
  assert.equal(await verifier({ firebaseSignerKey: Buffer.alloc(64).toString("base64") })({ hash, password }), false);
});

test("other hashes go to the application's own function", async () => {
  const seen = [];
  const verify = verifier({ fallback: (c) => (seen.push(c), c.password === "right") });
  assert.equal(await verify({ hash: "salt:key", password: "right" }), true);
  assert.equal(await verify({ hash: "salt:key", password: "wrong" }), false);
  assert.equal(await verifier()({ hash: "salt:key", password: "right" }), false);
  assert.equal(seen.length, 2);
});

test("what is damaged is nobody's", async () => {
  const verify = verifier({ firebaseSignerKey: vectors[0].signerKey });
  for (const hash of ["", "$2a$10$short", "$argon2id$v=19$m=1$x$y", "$f_scrypt$", "$f_scrypt$a$b$m=99$r=8$s=c", "$f_scrypt$AA==$AA==$m=14$r=8"]) {
    assert.equal(await verify({ hash, password: "" }), false, hash);
  }
  assert.equal(await verify({ hash: undefined, password: "x" }), false);
});

test("a hash can be replaced at sign-in, and an error in that harms nobody", async () => {
  const { hash, password } = vectors[0];
  const replaced = [];
  const verify = verifier({ onVerified: (c) => void replaced.push(c.hash) });
  await verify({ hash, password: "wrong" });
  assert.deepEqual(replaced, []);
  assert.equal(await verify({ hash, password }), true);
  assert.deepEqual(replaced, [hash]);
  const failing = verifier({ onVerified: () => { throw new Error("no"); } });
  assert.equal(await failing({ hash, password }), true);
});
