-- An application with habits of its own: odd names, an enum, a domain, generated columns,
-- triggers, and tables that refer to its people.
CREATE EXTENSION IF NOT EXISTS citext;
CREATE SCHEMA crm;
CREATE TYPE crm."State" AS ENUM ('active', 'locked');
CREATE DOMAIN crm.phone AS text CHECK (VALUE ~ '^\+[0-9]+$');
CREATE TABLE crm."People" (
  "Id" uuid PRIMARY KEY,
  mail citext UNIQUE,
  "Full ""Name""" varchar(20) NOT NULL,
  name_length int GENERATED ALWAYS AS (length("Full ""Name""")) STORED,
  phone crm.phone,
  state crm."State" NOT NULL DEFAULT 'active',
  joined timestamp(3) NOT NULL DEFAULT now(),
  extra jsonb,
  nick text,
  folded text GENERATED ALWAYS AS (lower(nick)) STORED UNIQUE,
  row_no bigserial,
  CHECK (name_length <> 13)
);
CREATE UNIQUE INDEX phones ON crm."People" (phone) WHERE state = 'active';
CREATE TABLE crm.secrets (person uuid PRIMARY KEY REFERENCES crm."People" ON DELETE CASCADE, hash text NOT NULL, algorithm text);
CREATE TABLE crm.roles (name text PRIMARY KEY);
INSERT INTO crm.roles VALUES ('admin'), ('editor');
CREATE TABLE crm.person_roles (person uuid REFERENCES crm."People" ON DELETE CASCADE, role text REFERENCES crm.roles, granted timestamptz DEFAULT now(), note text, PRIMARY KEY (person, role));
CREATE TABLE crm.links (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, person uuid NOT NULL REFERENCES crm."People", provider text, subject text, UNIQUE (provider, subject));
CREATE TABLE crm.orders (id serial PRIMARY KEY, buyer uuid REFERENCES crm."People" ON DELETE SET NULL);
CREATE FUNCTION crm.refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF NEW.mail = 'trigger@example.com' THEN RAISE EXCEPTION 'not this one'; END IF;
  NEW."Full ""Name""" := upper(NEW."Full ""Name""");
  RETURN NEW;
END $$;
CREATE TRIGGER refuse BEFORE INSERT OR UPDATE ON crm."People" FOR EACH ROW EXECUTE FUNCTION crm.refuse();
