import { createServer } from "node:http";
import { passkey } from "@better-auth/passkey";
import { betterAuth } from "better-auth";
import { verifyPassword } from "better-auth/crypto";
import { getMigrations } from "better-auth/db/migration";
import { toNodeHandler } from "better-auth/node";
import { admin, genericOAuth, organization, phoneNumber, twoFactor, username } from "better-auth/plugins";
import { createPool } from "mysql2/promise";
import pg from "pg";
import { verifier } from "./verify.js";

const port = Number(process.env.PORT);
const origin = `http://localhost:${port}`;
const dsn = new URL(process.env.DSN);
const database = dsn.protocol === "mysql:"
  ? createPool({
      host: dsn.hostname, port: Number(dsn.port), user: decodeURIComponent(dsn.username), password: decodeURIComponent(dsn.password),
      database: dsn.pathname.slice(1), timezone: "Z",
    })
  : new pg.Pool({ connectionString: process.env.DSN });
// Who comes with a session of the old system passes through the bridge. Nobody is signed up
// or found by address: the row of account with the provider supertokens says who it is.
const bridge = process.env.BRIDGE && genericOAuth({
  config: [{
    providerId: "supertokens",
    clientId: "better-auth",
    clientSecret: process.env.BRIDGE_SECRET,
    discoveryUrl: `${process.env.BRIDGE}/.well-known/openid-configuration`,
    scopes: ["openid"],
    disableSignUp: true,
    mapProfileToUser: ({ sub }) => ({ email: `${sub}@supertokens.invalid`, name: sub }),
  }],
});
const pages = {
  "/visit": `<script type="module">
    const body = JSON.stringify({ provider: "supertokens", callbackURL: "/who", errorCallbackURL: "/who" });
    const res = await fetch("/api/auth/sign-in/social", { method: "POST", headers: { "Content-Type": "application/json" }, body });
    location = (await res.json()).url ?? "/who?error=" + res.status;
  </script>`,
  "/passkey": `<script type="module">
    const options = await (await fetch("/api/auth/passkey/generate-authenticate-options")).json();
    const assertion = await navigator.credentials.get({ publicKey: PublicKeyCredential.parseRequestOptionsFromJSON(options) }).catch(String);
    const body = JSON.stringify({ response: assertion });
    const res = await fetch("/api/auth/passkey/verify-authentication", { method: "POST", headers: { "Content-Type": "application/json" }, body });
    location = "/who?error=" + (res.ok ? "" : res.status + " " + (await res.text()) + " " + assertion);
  </script>`,
  "/who": `<body><script type="module">
    const session = await (await fetch("/api/auth/get-session")).json();
    const p = Object.assign(document.createElement("p"), { id: "answer" });
    p.textContent = session ? "user " + session.user.id : "nobody " + (new URLSearchParams(location.search).get("error") ?? "");
    document.body.append(p);
  </script>`,
};
const auth = betterAuth({
  secret: process.env.SECRET,
  baseURL: origin,
  trustedOrigins: [origin, `http://127.0.0.1:${port}`],
  database,
  telemetry: { enabled: false },
  rateLimit: { enabled: false },
  emailAndPassword: {
    enabled: true,
    password: { verify: verifier({ firebaseSignerKey: process.env.SIGNER_KEY, fallback: verifyPassword }) },
  },
  socialProviders: { google: { clientId: "test", clientSecret: "test" } },
  plugins: [twoFactor(), phoneNumber(), username(), organization(), admin(), passkey({ rpID: process.env.RP_ID, origin }), ...(bridge ? [bridge] : [])],
});
await (await getMigrations(auth.options)).runMigrations();
const handler = toNodeHandler(auth);
createServer((req, res) => {
  const page = pages[req.url.split("?")[0]];
  return page ? res.setHeader("Content-Type", "text/html").end(page) : handler(req, res);
}).listen(port, "127.0.0.1", () => console.log(`ready at ${port}`));
