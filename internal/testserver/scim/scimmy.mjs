// A SCIM server of SCIMMY with its users in memory, for tests. The environment gives
// TOKEN, DELAY (milliseconds before every answer) and EXTENSION (the name of an
// extension to declare). It prints the port it listens on.
import express from "express";
import SCIMMY from "scimmy";
import { SCIMMYRouters } from "scimmy-routers";

const { User, Group } = SCIMMY.Resources;
const { SchemaDefinition, Attribute } = SCIMMY.Types;
if (process.env.EXTENSION) {
  User.extend(new SchemaDefinition("SuperTokens", process.env.EXTENSION, "What came from SuperTokens", [
    new Attribute("boolean", "emailVerified"),
    new Attribute("boolean", "phoneVerified"),
    new Attribute("dateTime", "createdAt"),
    new Attribute("string", "tenants", { multiValued: true }),
    new Attribute("complex", "identities", { multiValued: true }, [
      new Attribute("string", "provider", { caseExact: true }),
      new Attribute("string", "subject", { caseExact: true }),
    ]),
    new Attribute("string", "metadataJson", { caseExact: true }),
  ]));
}

const stores = new Map();
let next = 0;
function declare(Resource, key) {
  const byId = new Map(), byKey = new Map();
  stores.set(Resource, byId);
  SCIMMY.Resources.declare(Resource)
    .ingress((resource, data) => {
      const now = new Date().toISOString();
      const old = resource.id ? byId.get(resource.id) : undefined;
      if (resource.id && !old) throw new SCIMMY.Types.Error(404, null, `${resource.id} not found`);
      const value = JSON.parse(JSON.stringify(data));
      const name = String(value[key] ?? "").toLowerCase();
      if (byKey.has(name) && byKey.get(name) !== resource.id) throw new SCIMMY.Types.Error(409, "uniqueness", `${key} is taken`);
      const id = old?.id ?? String(++next);
      if (old) byKey.delete(String(old[key]).toLowerCase());
      byKey.set(name, id);
      const stored = { ...value, id, meta: { created: old?.meta?.created ?? now, lastModified: now } };
      byId.set(id, stored);
      return stored;
    })
    .egress((resource) => {
      if (resource.id) {
        const found = byId.get(resource.id);
        if (!found) throw new SCIMMY.Types.Error(404, null, `${resource.id} not found`);
        return found;
      }
      const all = [...byId.values()];
      return resource.filter ? resource.filter.match(all) : all;
    })
    .degress((resource) => {
      const found = byId.get(resource.id);
      if (!found) throw new SCIMMY.Types.Error(404, null, `${resource.id} not found`);
      byKey.delete(String(found[key]).toLowerCase());
      byId.delete(resource.id);
    });
}
declare(User, "userName");
declare(Group, "displayName");

const app = express();
const delay = Number(process.env.DELAY ?? 0);
if (delay > 0) app.use((request, response, next) => setTimeout(next, delay));
// What is stored, beside SCIM, for the test to hold against its plan; and a broom.
app.get("/stored", (request, response) => response.json({ users: [...stores.get(User).values()], groups: [...stores.get(Group).values()] }));
app.use("/scim/v2", new SCIMMYRouters({
  type: "bearer",
  docUri: "https://example.com/",
  handler: (request) => {
    if (request.header("Authorization") !== `Bearer ${process.env.TOKEN}`) throw new Error("wrong token");
    return "tester";
  },
}));
const server = app.listen(0, "127.0.0.1", () => console.log(`port ${server.address().port}`));
