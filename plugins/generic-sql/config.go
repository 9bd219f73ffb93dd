package sqltarget

import (
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/stetl/stetl/core/sdk"
	"github.com/stetl/stetl/core/sdk/mysqladdress"
)

// Config is target.config of a configuration file. What a preset says holds wherever the
// configuration says nothing; tables of both are merged by name and by what they have
// rows for.
type Config struct {
	Mode string     `json:"mode,omitempty" enum:"live,files" default:"live" jsonschema:"live loads a running database; files writes an SQL script to run by hand"`
	Out  string     `json:"out,omitempty" title:"Folder" jsonschema:"files: folder to write"`
	URL  sdk.Secret `json:"url,omitzero" title:"Database" jsonschema:"live: address of the database, such as postgres://stetl:…@db.internal:5432/app or mysql://stetl:…@db.internal:3306/app"`
	// Dialect is read from the address where there is one.
	Dialect string   `json:"dialect,omitempty" enum:"postgres,mysql" jsonschema:"files: the SQL of the script; mysql is also for MariaDB; default: postgres"`
	Name    string   `json:"name,omitempty" default:"default" jsonschema:"name of this database in the journal; two databases that share a journal need two names"`
	Schema  string   `json:"schema,omitempty" jsonschema:"schema of tables without one in their name: by default public, on MySQL the database of the url"`
	Preset  string   `json:"preset,omitempty" title:"Preset" example:"better-auth" jsonschema:"tables of a known library"`
	With    []string `json:"with,omitempty" jsonschema:"parts of the preset that the application uses"`

	Tables []Table `json:"tables,omitempty" jsonschema:"tables to write; the first one is that of the accounts, and a table comes before those that refer to it"`
	// Permissions is of roles, and of no account.
	Permissions Permissions `json:"permissions,omitzero" jsonschema:"table of the permissions of roles: one row for each permission of a role"`
	Hashes      []string    `json:"hashes,omitempty" jsonschema:"kinds of password hashes that the application can verify: bcrypt, argon2id, argon2i, argon2d, firebase_scrypt"`
	Unique      []string    `json:"unique,omitempty" jsonschema:"identifiers that must be unique: email, identity"`
	FoldsCase   []string    `json:"folds_case,omitempty" jsonschema:"identifiers that the application compares without regard to case: email, username"`
	IDLength    int         `json:"id_length,omitempty" default:"255" jsonschema:"longest id, in characters"`
	Disposable  []string    `json:"disposable,omitempty" jsonschema:"tables whose rows an undo may delete together with an account"`
	Sessions    []string    `json:"sessions,omitempty" jsonschema:"tables of sessions: their rows are deleted when a reset link of SuperTokens has set a new password, and an undo may delete them together with an account"`
	SignIn      SignIn      `json:"sign_in,omitzero" jsonschema:"sign-in of the application, to prove with test accounts that old passwords work"`
	SignIns     []string    `json:"sign_ins,omitempty" jsonschema:"all ways to sign in to the application: password, social, social:PROVIDER, passkey, email_code, email_reset, sms_code; people who have none of these are counted as stranded"`
	Parallel    int         `json:"parallel,omitempty" jsonschema:"connections at the same time, by default 4"`

	ways []string // to sign in, that the preset knows
}

const (
	modeFiles       = "files"
	dialectPostgres = "postgres"
	dialectMySQL    = "mysql"
)

// connections is how many there may be: one for each batch that is on its way, and one for
// what is asked beside them.
func (c *Config) connections() int {
	if c.Parallel > 0 {
		return c.Parallel + 1
	}
	return batch.InFlight + 1
}

// server is the database of the address.
func (c *Config) server() (server, error) {
	if c.Dialect == dialectMySQL {
		return newMySQL(c)
	}
	return newPostgres(c)
}

// Table declares what a table gets.
type Table struct {
	Name    string   `json:"name" jsonschema:"table, or schema.table"`
	Per     string   `json:"per" enum:"account,login,identity,password,passkey,authenticator,role,tenant" jsonschema:"what one row stands for"`
	Key     []string `json:"key" jsonschema:"columns that identify a row of an account; in the first table, the column with the account's id"`
	Account string   `json:"account,omitempty" jsonschema:"column with the id of the account; in the first table it is the key"`
	// Columns are what rows get.
	Columns map[string]Column `json:"columns" jsonschema:"what each column gets"`
	When    string            `json:"when,omitempty" jsonschema:"CEL expression; a row is written if it is true"`
	Unique  [][]string        `json:"unique,omitempty" jsonschema:"columns that must be unique together, beside the unique indexes of the database"`
}

// Column declares what a column gets: one of field, value, template and cel.
type Column struct {
	Field    string `json:"field,omitempty" jsonschema:"name of a field, such as id or identity.subject"`
	Value    any    `json:"value,omitempty" jsonschema:"a constant"`
	Template string `json:"template,omitempty" jsonschema:"text with fields in braces, such as {given_name} {family_name}"`
	CEL      string `json:"cel,omitempty" jsonschema:"CEL expression"`
	Gone     any    `json:"gone,omitempty" jsonschema:"its value when the account is switched off, because its person has gone from the source (policies.gone)"`
	Free     any    `json:"free,omitempty" jsonschema:"its value then, if another account needs the old value; {id} is the id of the account"`
	Once     bool   `json:"once,omitempty" jsonschema:"written when the row is made, and neither compared nor changed later"`
	Secret   bool   `json:"secret,omitempty" jsonschema:"shown only as a fingerprint; a password that the person has changed is not overwritten"`
}

// SignIn is how a canary signs in.
type SignIn struct {
	URL     string `json:"url,omitempty" jsonschema:"address for a POST with JSON"`
	Body    string `json:"body,omitempty" jsonschema:"the JSON body, with {email}, {username}, {id} and {password}"`
	Refused []int  `json:"refused,omitempty" jsonschema:"statuses that mean a wrong password, by default 401"`
}

// resolved fills in the preset, and reports every problem that can be found without the
// database.
func (c Config) resolved() (Config, sdk.Diagnostics) {
	var l sdk.Diagnostics
	bad := func(path, summary, hint string) {
		l.Add(sdk.Diagnostic{Code: sdk.CodeInvalidValue, Path: path, Summary: summary, Hint: hint})
	}
	scheme := schemeOf(c.URL)
	of := dialectPostgres
	if mysqladdress.Is(c.URL.Reveal()) {
		of = dialectMySQL
	}
	switch {
	case c.Mode == modeFiles && c.Out == "":
		l.Add(sdk.Diagnostic{Code: sdk.CodeMissingField, Path: "/out", Summary: "mode files needs a folder", Hint: "set out"})
	case c.Mode == modeFiles:
	case c.URL.Reveal() == "":
		l.Add(sdk.Diagnostic{Code: sdk.CodeMissingField, Path: "/url", Summary: "mode live needs the address of the database", Hint: "such as ${env:APP_DATABASE_URL}"})
	case of != dialectMySQL && scheme != "postgres" && scheme != "postgresql":
		bad("/url", "this is not an address of PostgreSQL or MySQL", "write it like postgres://user:password@host:5432/database or mysql://user:password@host:3306/database")
	case c.Dialect != "" && c.Dialect != of:
		bad("/dialect", "the address is not one of "+c.Dialect, "leave dialect out")
	default:
		c.Dialect = of
	}
	if c.Dialect == "" {
		c.Dialect = dialectPostgres
	}
	if c.Schema == "" && c.Dialect == dialectPostgres {
		c.Schema = "public"
	}
	if c.Preset != "" {
		c = c.withPreset(bad)
	} else if len(c.With) > 0 {
		bad("/with", "with lists parts of a preset, but no preset is set", "set preset")
	}
	if len(c.Tables) == 0 && c.Preset == "" {
		l.Add(sdk.Diagnostic{Code: sdk.CodeMissingField, Path: "/tables", Summary: "no table is declared", Hint: "declare tables, or set preset: " + strings.Join(presetNames(), ", ")})
	}
	known := []string{string(sdk.Bcrypt), string(sdk.Argon2id), string(sdk.Argon2i), string(sdk.Argon2d), string(sdk.FirebaseScrypt)}
	for i, scheme := range c.Hashes {
		if !slices.Contains(known, scheme) {
			bad(sdk.Pointer("hashes", fmt.Sprint(i)), fmt.Sprintf("there is no kind of hash called %q", scheme), "one of "+strings.Join(known, ", "))
		}
	}
	for i, name := range c.Unique {
		if name != string(sdk.IdentifierEmail) && name != string(sdk.IdentifierIdentity) {
			bad(sdk.Pointer("unique", fmt.Sprint(i)), fmt.Sprintf("%q cannot be declared as unique here", name), "only email and identity can; ids and user names always are unique")
		}
	}
	for i, name := range c.FoldsCase {
		if name != string(sdk.IdentifierEmail) && name != string(sdk.IdentifierUsername) {
			bad(sdk.Pointer("folds_case", fmt.Sprint(i)), fmt.Sprintf("%q cannot be listed here", name), "only email and username can")
		}
	}
	for i, way := range c.SignIns {
		if _, err := sdk.ParseSignIn(way); err != nil {
			bad(sdk.Pointer("sign_ins", fmt.Sprint(i)), err.Error(), "list what the application has")
		}
	}
	if c.Permissions.incomplete() {
		bad("/permissions", "a table of permissions needs table, role and permission", "name the table and its two columns, or leave permissions out")
	}
	if c.IDLength < 1 {
		bad("/id_length", "id_length is not above 0", "leave it out for 255")
	}
	if c.Parallel < 0 || c.Parallel > 64 {
		bad("/parallel", "parallel is outside 1 to 64", "leave it out")
	}
	if u, err := url.Parse(c.SignIn.URL); c.SignIn.URL != "" && (err != nil || u.Host == "" || u.Scheme != "https" && (u.Scheme != "http" || !loopback(u.Hostname()))) {
		bad("/sign_in/url", "the address to sign in at cannot be used", "write it like https://app.example.com/api/auth/sign-in/email; plain http is for this machine only")
	}
	return c, l
}

func loopback(host string) bool { return host == "localhost" || host == "127.0.0.1" || host == "::1" }

func schemeOf(u sdk.Secret) string {
	scheme, _, ok := strings.Cut(u.Reveal(), "://")
	if !ok {
		return ""
	}
	return strings.ToLower(scheme)
}

// withPreset adds what the preset declares.
func (c Config) withPreset(bad func(path, summary, hint string)) Config {
	p, ok := readPreset(c.Preset)
	if !ok {
		bad("/preset", "there is no preset of that name", "one of "+strings.Join(presetNames(), ", ")+"; or leave it out and declare tables")
		return c
	}
	parts := slices.Sorted(maps.Keys(p.Parts))
	for i, name := range c.With {
		if !slices.Contains(parts, name) {
			bad(sdk.Pointer("with", fmt.Sprint(i)), fmt.Sprintf("the preset has no part called %q", name), "there are "+strings.Join(parts, ", "))
		}
	}
	c.ways = p.SignIns
	tables := slices.Clone(p.Tables)
	for _, name := range parts { // in an order of their own, whatever that of the file
		if slices.Contains(c.With, name) {
			tables = merge(tables, p.Parts[name])
		}
	}
	c.Tables = merge(tables, c.Tables)
	c.Unique = union(p.Unique, c.Unique)
	c.FoldsCase = union(p.FoldsCase, c.FoldsCase)
	c.Disposable = union(p.Disposable, c.Disposable)
	c.Sessions = union(p.Sessions, c.Sessions)
	if c.SignIn.Body == "" {
		c.SignIn.Body = p.SignIn.Body
	}
	if len(c.SignIn.Refused) == 0 {
		c.SignIn.Refused = p.SignIn.Refused
	}
	return c
}

// merge adds tables to others. One that is there gets the columns and whatever else is
// said.
func merge(all, more []Table) []Table {
	all = slices.Clone(all)
	for _, t := range more {
		at := slices.IndexFunc(all, func(o Table) bool {
			return o.Name == t.Name && o.Per == t.Per && slices.Equal(o.Key, t.Key) && sameConstants(o, t)
		})
		if at < 0 {
			all = append(all, t)
			continue
		}
		o := all[at]
		o.Columns = maps.Clone(o.Columns)
		maps.Copy(o.Columns, t.Columns)
		if t.When != "" {
			o.When = t.When
		}
		o.Unique = append(slices.Clone(o.Unique), t.Unique...)
		all[at] = o
	}
	return all
}

// sameConstants says that nothing tells the rows of one declaration from those of the
// other.
func sameConstants(a, b Table) bool {
	return slices.IndexFunc(a.Key, func(k string) bool {
		x, y := a.Columns[k].Value, b.Columns[k].Value
		return y != nil && x != y
	}) < 0
}

func union(a, b []string) []string {
	out := slices.Clone(a)
	for _, s := range b {
		if !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}
