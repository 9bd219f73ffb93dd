package supertokens

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Generation is a shape of the database; see the package comment.
type Generation string

// The generations, oldest first.
const (
	G0  Generation = "G0"
	G1a Generation = "G1a"
	G1b Generation = "G1b"
	G1c Generation = "G1c"
	G2  Generation = "G2"
	G3  Generation = "G3"
	G4  Generation = "G4"
	G5  Generation = "G5"
	// G5p is core 12.1: G5 with session columns added.
	G5p Generation = "G5'"
)

// Layout is where an installation's tables are and what shape they have.
type Layout struct {
	Generation  Generation `json:"generation"`
	Schema      string     `json:"schema"`
	TablePrefix string     `json:"table_prefix"`
	// Renamed maps the core's table names to the actual ones, for tables that
	// were renamed individually.
	Renamed map[string]string `json:"renamed_tables"`

	tables map[table]*relation
}

// ErrNotSuperTokens is returned when a source holds no SuperTokens
// installation.
var ErrNotSuperTokens = errors.New("no SuperTokens installation found")

// ErrAmbiguous is returned when a source holds several installations and the
// options do not say which.
var ErrAmbiguous = errors.New("more than one SuperTokens installation found")

// multiApp reports whether rows carry an app_id.
func (l *Layout) multiApp() bool { return l.tables[tEmailPassword].has("app_id") }

// detect finds the one installation that the options describe and names its
// generation from the columns of the tables that will be read. The users table
// comes first: starting a newer core once against an old database leaves the
// newer, empty tables behind.
func detect(c *catalog, o Options) (*Layout, error) {
	l, err := find(c, o)
	if err != nil {
		return nil, err
	}
	if err := l.generation(c); err != nil {
		return nil, err
	}
	return l, l.complete(c)
}

// find is the part of detect that says where the tables are.
func find(c *catalog, o Options) (*Layout, error) {
	candidates := discover(c, o)
	switch len(candidates) {
	case 0:
		return nil, notFound(c, o)
	case 1:
	default:
		var names []string
		for _, l := range candidates {
			names = append(names, fmt.Sprintf("schema %q with table_prefix %q", l.Schema, l.TablePrefix))
		}
		return nil, fmt.Errorf("%w in %s: %s; set source.schema and source.table_prefix to choose one",
			ErrAmbiguous, c.where, strings.Join(names, ", "))
	}
	l := candidates[0]
	return l, l.locate(c, o)
}

// discover lists the installations in the catalog: places where an
// e-mail-password users table is, under its own name, a prefix, or the name
// the options give it. A database of generation 0 has only sessions.
func discover(c *catalog, o Options) []*Layout {
	prefix := foldPrefix(o.TablePrefix)
	var out []*Layout
	for _, anchor := range []table{tEmailPassword, tSessions} {
		for _, r := range c.tables {
			if o.Schema != "" && !named(r.schema, o.Schema) {
				continue
			}
			if !r.has(signatures[anchor].has...) || strings.HasSuffix(r.name, string(tDashboardUsers)) {
				continue
			}
			found := Layout{Schema: r.schema, Renamed: map[string]string{}, tables: map[table]*relation{}}
			switch before, ok := strings.CutSuffix(r.name, string(anchor)); {
			case o.Tables[string(anchor)] != "":
				if !named(r.name, o.Tables[string(anchor)]) {
					continue
				}
				found.TablePrefix = strings.TrimSuffix(prefix, "_")
				if o.TablePrefix == nil {
					found.TablePrefix = guessPrefix(c, r.schema)
				}
			case ok && (before == "" || strings.HasSuffix(before, "_")):
				if o.TablePrefix != nil && before != prefix {
					continue
				}
				found.TablePrefix = strings.TrimSuffix(before, "_")
			default:
				continue
			}
			out = append(out, &found)
		}
		if len(out) > 0 {
			break
		}
	}
	if len(out) == 0 {
		out = discoverRenamed(c, o)
	}
	return out
}

// discoverRenamed handles a users table under a name nobody told us: the
// unique table of the right columns, in a schema that also has a table whose
// name the core does not let anyone change.
func discoverRenamed(c *catalog, o Options) []*Layout {
	var out []*Layout
	for _, r := range c.tables {
		if (o.Schema != "" && !named(r.schema, o.Schema)) || strings.HasSuffix(r.name, string(tDashboardUsers)) {
			continue
		}
		if !r.has(signatures[tEmailPassword].has...) {
			continue
		}
		prefix := strings.TrimSuffix(foldPrefix(o.TablePrefix), "_")
		if o.TablePrefix == nil {
			prefix = guessPrefix(c, r.schema)
		}
		l := &Layout{Schema: r.schema, TablePrefix: prefix, Renamed: map[string]string{}, tables: map[table]*relation{}}
		if c.find(r.schema, l.name(tUserIndex)) != nil || c.find(r.schema, l.name(tSessions)) != nil {
			out = append(out, l)
		}
	}
	return out
}

// guessPrefix reads the prefix off a table that cannot be renamed.
func guessPrefix(c *catalog, schema string) string {
	for _, anchor := range []table{tUserIndex, tSessions, tKeyValue} {
		for _, r := range c.tables {
			if before, ok := strings.CutSuffix(r.name, string(anchor)); ok && r.schema == schema && strings.HasSuffix(before, "_") {
				return strings.TrimSuffix(before, "_")
			}
		}
	}
	return ""
}

// name is the catalog name of t under the prefix.
func (l *Layout) name(t table) string {
	if l.TablePrefix == "" {
		return string(t)
	}
	return l.TablePrefix + "_" + string(t)
}

// locate fills in the tables, told names first, then prefixed ones, then, for
// the renamable ones, the only table with the right columns.
func (l *Layout) locate(c *catalog, o Options) error {
	known := map[string]bool{}
	for _, t := range slices.Concat(allTables(), unreadTables) {
		known[l.name(t)] = true
	}
	for key, told := range o.Tables {
		r := c.find(l.Schema, told)
		if r == nil {
			r = c.find(l.Schema, fold(told))
		}
		if r == nil {
			return fmt.Errorf("source.tables.%s names %q, and %s has no such table in schema %q", key, told, c.where, l.Schema)
		}
		l.tables[table(key)] = r
		l.Renamed[key] = r.name
	}
	for _, t := range allTables() {
		if l.tables[t] == nil {
			l.tables[t] = c.find(l.Schema, l.name(t))
		}
	}
	for t, sig := range signatures {
		if l.tables[t] != nil {
			continue
		}
		var found []*relation
		for _, r := range c.tables {
			if r.schema != l.Schema || known[r.name] || !sig.fits(r) {
				continue
			}
			found = append(found, r)
		}
		switch {
		case len(found) == 1:
			l.tables[t] = found[0]
			l.Renamed[string(t)] = found[0].name
		case len(found) > 1 && (t == tVerified || t == tThirdParty):
			var names []string
			for _, r := range found {
				names = append(names, r.name)
			}
			return fmt.Errorf("%w: table %q is missing from schema %q in %s, and %s could each be it under another name; say which in source.tables.%s",
				ErrAmbiguous, l.name(t), l.Schema, c.where, strings.Join(names, " and "), t)
		}
	}
	return nil
}

// generation asks the questions in the one order that mixed states allow.
func (l *Layout) generation(c *catalog) error {
	users := l.tables[tEmailPassword]
	switch spine := l.tables[tSpine]; {
	case users == nil:
		l.Generation = G0
		return fmt.Errorf("%w with users in %s: it holds sessions only (SuperTokens core 1 or 2), there is nobody to move", ErrNotSuperTokens, c.where)
	case users.has("app_id"):
		switch {
		case spine == nil:
			return missing(c, l, tSpine)
		case !spine.has("primary_or_recipe_user_id"):
			l.Generation = G3
		case !spine.has("time_joined") || l.tables[tRecipeUserTenants] == nil:
			l.Generation = G4
		case l.tables[tSessions] != nil && l.tables[tSessions].has("prev_refresh_token_hash_2"):
			l.Generation = G5p
		default:
			l.Generation = G5
		}
	case l.tables[tUserIndex] != nil || l.hasAny(c, slices.Concat(history...)...):
		l.Generation = G2
	case l.tables[tVerified] != nil || l.tables[tThirdParty] != nil || l.tables[tVerificationTokens] != nil:
		l.Generation = G1c
	case users.has("is_email_verified"):
		l.Generation = G1b
	default:
		l.Generation = G1a
	}
	return nil
}

// complete refuses an installation that lacks a table its generation always
// has, because reading on would lose users or their state without a word.
func (l *Layout) complete(c *catalog) error {
	var required []table
	switch l.Generation {
	case G1c:
		required = []table{tThirdParty, tVerified}
	case G2:
		required = []table{tThirdParty, tVerified, tUserIndex}
	case G3, G4:
		required = []table{tThirdParty, tPasswordless, tVerified, tMapping, tMetadata, tUserRoles, tUserIndex, tApps, tTenants}
	case G5, G5p:
		required = []table{tThirdParty, tPasswordless, tVerified, tMapping, tMetadata, tUserRoles, tApps, tTenants}
	case G0, G1a, G1b, never:
	}
	if l.Generation == G4 && l.tables[tSpine].has("time_joined") && l.hasAny(c, "recipe_user_account_infos", "primary_user_tenants") {
		required = append(required, tRecipeUserTenants) // core 12 makes the three together
	}
	for _, t := range slices.Concat(required, l.implied(c)) {
		if l.tables[t] == nil {
			return missing(c, l, t)
		}
	}
	for _, t := range neededTables() {
		if r := l.tables[t]; r != nil && !r.readable {
			return fmt.Errorf("no permission to read table %s in %s; run: GRANT USAGE ON SCHEMA %s TO <role>; GRANT SELECT ON ALL TABLES IN SCHEMA %s TO <role>",
				r.qualified(), c.where, quoteIdent(l.Schema), quoteIdent(l.Schema))
		}
	}
	for _, s := range userTables {
		if r := l.tables[s.table]; r != nil && !r.has(s.key) {
			return fmt.Errorf("table %s in %s has no column %q; it is not SuperTokens' table", r.qualified(), c.where, s.key)
		}
	}
	return l.necessary(c)
}

// neededTables are those that are read for what they say about accounts.
func neededTables() []table {
	out := []table{tApps, tTenants, tTenantConfigs, tRoles}
	for _, s := range userTables {
		if s.table != tSessions {
			out = append(out, s.table)
		}
	}
	return out
}

// history lists the optional tables by the core that brought them. A core
// makes every table that is missing whenever it starts, so one table proves
// that all older ones have been there.
var history = [][]table{
	{tPasswordless, "passwordless_devices", "passwordless_codes"}, // 3.8
	{tMetadata},                              // 3.11
	{tRoles, tUserRoles, "role_permissions"}, // 3.13
	{tMapping},                               // 3.15
	{tTOTPUsers, tTOTPDevices, tLastActive, "totp_used_codes"}, // 4.5
}

// hasAny reports whether one of the tables is there, read or not.
func (l *Layout) hasAny(c *catalog, tables ...table) bool {
	return slices.ContainsFunc(tables, func(t table) bool { return l.tables[t] != nil || c.find(l.Schema, l.name(t)) != nil })
}

// implied lists the tables with something about users that must be there because
// a later core has left a table of its own.
func (l *Layout) implied(c *catalog) []table {
	if l.Generation < G2 {
		return nil // of these cores, none had any
	}
	newest := -1
	for i, step := range history {
		if l.hasAny(c, step...) {
			newest = i
		}
	}
	if l.Generation >= G3 {
		newest = len(history) - 1
	}
	var out []table
	for i := range newest + 1 {
		for _, t := range history[i] {
			if slices.Contains(neededTables(), t) {
				out = append(out, t)
			}
		}
	}
	if l.hasAny(c, tWebAuthnCreds, "webauthn_user_to_tenant") {
		out = append(out, tWebAuthn)
	}
	return out
}

// necessary refuses tables without a column that every core has given them:
// reading it as NULL would change accounts without a word.
func (l *Layout) necessary(c *catalog) error {
	for _, s := range userTables {
		r := l.tables[s.table]
		if r == nil {
			continue
		}
		for _, column := range s.columns {
			if since, optional := laterColumns[s.table][column]; !r.has(column) && (!optional || l.Generation >= since) {
				return fmt.Errorf("table %s in %s has no column %q, which every core of generation %s gives it; accounts would be read wrongly without it",
					r.qualified(), c.where, column, l.Generation)
			}
		}
	}
	return nil
}

// never is later than every generation.
const never Generation = "~"

// laterColumns are the columns that some generations lack, with the first that
// cannot.
var laterColumns = map[table]map[string]Generation{
	tSpine:         {"primary_or_recipe_user_id": G4, "is_linked_or_is_a_primary_user": G4, "time_joined": G5},
	tEmailPassword: {"is_email_verified": never},
	tUserIndex:     {"tenant_id": G3},
	tUserRoles:     {"tenant_id": G3},
	tTOTPDevices:   {"created_at": never},
}

func missing(c *catalog, l *Layout, t table) error {
	hint := "restore it, or dump the whole database"
	if slices.Contains(RenamableTables(), string(t)) {
		hint = fmt.Sprintf("if it was renamed, say so in source.tables.%s", t)
	}
	return fmt.Errorf("table %q is missing from schema %q in %s, and users would be lost without it; %s", l.name(t), l.Schema, c.where, hint)
}

func notFound(c *catalog, o Options) error {
	var where []string
	if o.Schema != "" {
		where = append(where, fmt.Sprintf("schema %q", o.Schema))
	}
	if o.TablePrefix != nil {
		where = append(where, fmt.Sprintf("table_prefix %q", *o.TablePrefix))
	}
	if len(where) > 0 {
		return fmt.Errorf("%w in %s under %s; leave these settings out to search the whole of it (schemas there: %s)",
			ErrNotSuperTokens, c.where, strings.Join(where, " and "), strings.Join(c.schemas(), ", "))
	}
	return fmt.Errorf("%w in %s: none of its %d tables is called emailpassword_users, with or without a prefix (schemas there: %s)",
		ErrNotSuperTokens, c.where, len(c.tables), strings.Join(c.schemas(), ", "))
}

// fold does what PostgreSQL does to the unquoted names the core uses.
func fold(name string) string { return strings.ToLower(strings.TrimSpace(name)) }

// named reports whether a catalog name is the one that was told: as it is, or
// folded.
func named(name, told string) bool { return name == told || name == fold(told) }

func foldPrefix(prefix *string) string {
	if prefix == nil || fold(*prefix) == "" {
		return ""
	}
	return fold(*prefix) + "_"
}

func quoteIdent(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

func allTables() []table {
	return []table{
		tApps, tTenants, tTenantConfigs, tProviderClients, tSpine, tUserIndex, tRecipeUserTenants, tEmailPassword,
		tThirdParty, tPasswordless, tWebAuthn, tWebAuthnCreds, tOldEmails, tVerified, tMapping, tMetadata, tRoles, tUserRoles,
		tTOTPUsers, tTOTPDevices, tLastActive, tSessions, tBulkImport, tDashboardUsers, tKeyValue, tResetTokens,
		tVerificationTokens,
	}
}
