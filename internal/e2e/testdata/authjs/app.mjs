// An application with Auth.js and its adapter for PostgreSQL, in which people sign in with
// the passwords that they had.
import { ExpressAuth, getSession } from "@auth/express";
import Credentials from "@auth/express/providers/credentials";
import PostgresAdapter from "@auth/pg-adapter";
import express from "express";
import pg from "pg";
import { verifier } from "./verify.js";

const port = Number(process.env.PORT);
const db = new pg.Pool({ connectionString: process.env.DSN });
const adapter = PostgresAdapter(db);
const verify = verifier({ firebaseSignerKey: process.env.SIGNER_KEY });
const config = {
  adapter,
  secret: process.env.SECRET,
  trustHost: true,
  session: { strategy: "jwt" },
  providers: [
    Credentials({
      credentials: { email: {}, password: {} },
      authorize: async ({ email, password }) => {
        const user = await adapter.getUserByEmail(email.toLowerCase());
        return user?.password && (await verify({ hash: user.password, password })) ? user : null;
      },
    }),
  ],
  callbacks: { session: ({ session, token }) => ({ ...session, user: { ...session.user, id: token.sub } }) },
  logger: { error: () => {} },
};

const app = express();
app.use("/auth", ExpressAuth(config));
app.get("/me", async (req, res) => res.json((await getSession(req, config))?.user ?? {}));
// Whom a sign-in at another provider would find.
app.get("/account", async (req, res) => {
  const { provider, id: providerAccountId } = req.query;
  res.json((await adapter.getUserByAccount({ provider, providerAccountId })) ?? {});
});
app.listen(port, "127.0.0.1", () => console.log(`ready at ${port}`));
