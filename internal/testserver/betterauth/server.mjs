import { createServer } from "node:http";
import { passkey } from "@better-auth/passkey";
import { betterAuth } from "better-auth";
import { verifyPassword } from "better-auth/crypto";
import { getMigrations } from "better-auth/db/migration";
import { toNodeHandler } from "better-auth/node";
import { admin, organization, phoneNumber, twoFactor, username } from "better-auth/plugins";
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
  plugins: [twoFactor(), phoneNumber(), username(), organization(), admin(), passkey({ rpID: process.env.RP_ID, origin })],
});
await (await getMigrations(auth.options)).runMigrations();
createServer(toNodeHandler(auth)).listen(port, "127.0.0.1", () => console.log(`ready at ${port}`));
