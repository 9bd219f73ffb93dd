package sqltarget

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/stetl/stetl/core/sdk"
)

// propose looks at the tables that there are, and proposes what they get: a preset where
// they are those of a library, else columns by their names.
func propose(ctx context.Context, known Config, _ sdk.Env) (p sdk.Proposal[Config], l sdk.Diagnostics) {
	if known.Mode == modeFiles || known.Preset != "" || len(known.Tables) > 0 {
		return p, nil
	}
	if known.URL.Reveal() == "" {
		l.Add(sdk.Diagnostic{
			Severity: sdk.Warning, Code: codeUnreachable, Path: "/url", Summary: "the address of the database is not known, so its tables cannot be read",
			Hint: "set the variable that url refers to, and run stetl init again; or declare tables or a preset by hand",
		})
		return p, l
	}
	resolved, problems := known.resolved()
	for _, d := range problems { // what else is wrong is what is being proposed
		if d.Path == "/url" || d.Path == "/dialect" {
			l.Add(d)
		}
	}
	if l.HasErrors() {
		return p, l
	}
	s, err := resolved.server()
	if err != nil {
		l.Add(sdk.Diagnostic{Code: sdk.CodeInvalidValue, Path: "/url", Summary: err.Error()})
		return p, l
	}
	defer func() { _ = s.close() }() // it has only read
	tables, err := heldTables(ctx, s, resolved.Schema)
	if err != nil {
		l.Add(unreachable(err))
		return p, l
	}
	if p, ok := presetOf(tables); ok {
		return p, nil
	}
	d := &drafting{tables: tables, comments: map[string]string{}}
	d.draft()
	return sdk.Proposal[Config]{Config: d.config, Comments: d.comments}, d.open
}

// heldTables describes all tables of a schema; of none, on MySQL, those of the database of
// the address.
func heldTables(ctx context.Context, s server, schema string) ([]*heldTable, error) {
	tx, err := s.begin(ctx, reading)
	if err != nil {
		return nil, err
	}
	defer tx.close(ctx)
	in := "DATABASE()"
	if schema != "" {
		in = s.text(schema)
	}
	var names []string
	err = tx.each(ctx, "SELECT table_name FROM information_schema.tables WHERE table_schema = "+in+" AND table_type = 'BASE TABLE' ORDER BY table_name", nil, func(row []*string) error {
		names = append(names, textOf(row[0]))
		return nil
	})
	if err != nil {
		return nil, err
	}
	catalogue := s.reader(tx)
	var all []*heldTable
	for _, name := range names {
		path := []string{name} // which may have a dot in it
		if schema != "" {
			path = []string{schema, name}
		}
		h, err := catalogue.table(ctx, path)
		if err != nil {
			return nil, err
		}
		if h != nil {
			h.plain = name
			all = append(all, h)
		}
	}
	return all, nil
}

// presetOf finds the library whose tables these are.
func presetOf(tables []*heldTable) (p sdk.Proposal[Config], ok bool) {
	for _, name := range presetNames() {
		preset, _ := readPreset(name) // embedded
		if !has(tables, preset.Tables) {
			continue
		}
		p.Config.Preset = name
		for _, part := range slices.Sorted(maps.Keys(preset.Parts)) {
			// A part that adds no table and no column cannot be seen.
			if has(tables, preset.Parts[part]) && !has(known(preset.Tables), preset.Parts[part]) {
				p.Config.With = append(p.Config.With, part)
			}
		}
		p.Comments = map[string]string{"/preset": "The tables are those of this library."}
		return p, true
	}
	return p, false
}

// known are declared tables as if they were held.
func known(declared []Table) (out []*heldTable) {
	for _, t := range declared {
		h := &heldTable{plain: t.Name}
		for name := range t.Columns {
			h.columns = append(h.columns, &heldColumn{name: name})
		}
		out = append(out, h)
	}
	return out
}

// has says whether all that is declared is there.
func has(tables []*heldTable, declared []Table) bool {
	for _, t := range declared {
		ok := slices.ContainsFunc(tables, func(h *heldTable) bool {
			if h.plain != t.Name {
				return false
			}
			for name := range t.Columns {
				if h.column(name) == nil {
					return false
				}
			}
			return true
		})
		if !ok {
			return false
		}
	}
	return len(declared) > 0
}

// drafting is a configuration that is being proposed.
type drafting struct {
	tables   []*heldTable
	config   Config
	comments map[string]string
	// open is what somebody has to decide.
	open sdk.Diagnostics
}

func (d *drafting) draft() {
	people := d.people()
	if people == nil {
		d.open.Add(sdk.Diagnostic{
			Code: sdk.CodeMissingField, Path: "/tables", Summary: "no table looks like one of users: none has a column for an address or a password",
			Hint: "declare tables by hand; docs/generic-sql.md shows how",
		})
		return
	}
	d.account(people)
	for _, t := range d.tables {
		if t != people {
			d.part(t, people)
		}
	}
}

// folded is a name without what people write it differently with.
func folded(name string) string {
	return strings.ToLower(strings.NewReplacer("_", "", "-", "", " ", "").Replace(name))
}

// people is the table that has a row for each person.
func (d *drafting) people() (best *heldTable) {
	most := 2 // a name alone is not enough
	for _, t := range d.tables {
		score := 0
		switch folded(t.plain) {
		case "user", "users", "people", "person", "persons", "accounts", "account", "members", "member", "customers", "customer", "profiles", "appuser", "appusers":
			score += 2
		}
		for _, c := range t.columns {
			switch meant[folded(c.name)] {
			case "email", "username":
				score += 2
			case "password_hash":
				score += 2
			}
		}
		for _, o := range d.tables {
			if slices.ContainsFunc(o.refers, func(r reference) bool { return r.to == t.id }) {
				score++
			}
		}
		if score > most {
			most, best = score, t
		}
	}
	return best
}

// meant says by its folded name which field of an account a column is for.
var meant = map[string]string{
	"email": "email", "mail": "email", "emailaddress": "email", "useremail": "email", "primaryemail": "email",
	"emailverified": "email_verified", "emailconfirmed": "email_verified", "verified": "email_verified", "isverified": "email_verified", "isemailverified": "email_verified", "emailverifiedat": "email_verified", "confirmedat": "email_verified", "emailconfirmedat": "email_verified",
	"username": "username", "login": "username", "loginname": "username", "handle": "username", "nickname": "username",
	"phone": "phone", "phonenumber": "phone", "mobile": "phone", "mobilephone": "phone", "telephone": "phone",
	"phoneverified": "phone_verified", "phonenumberverified": "phone_verified", "phoneconfirmed": "phone_verified",
	"firstname": "given_name", "givenname": "given_name", "forename": "given_name",
	"lastname": "family_name", "familyname": "family_name", "surname": "family_name",
	"name": "names", "fullname": "names", "displayname": "names",
	"password": "password_hash", "passwordhash": "password_hash", "hashedpassword": "password_hash", "encryptedpassword": "password_hash", "passworddigest": "password_hash", "pwhash": "password_hash", "passwd": "password_hash",
	"createdat": "created", "created": "created", "createdon": "created", "joinedat": "created", "registeredat": "created", "datejoined": "created", "signupat": "created", "insertedat": "created",
	"updatedat": "now", "updated": "now", "modifiedat": "now", "lastmodified": "now",
	"active": "enabled", "enabled": "enabled", "isactive": "enabled", "isenabled": "enabled",
	"metadata": "metadata", "usermetadata": "metadata", "appmetadata": "metadata", "attributes": "metadata",
}

// columnFor is what a column gets that is for a field; false where its type does not fit.
func columnFor(c *heldColumn, field string) (Column, bool) {
	switch field {
	case "email_verified", "phone_verified":
		if c.kind == kindBool {
			return Column{CEL: field + " == true"}, true
		}
		return Column{CEL: field + " == true ? dyn(created != null ? created : now) : null", Once: true}, c.kind == kindMoment || c.kind == kindDate
	case "created":
		if c.kind != kindMoment && c.kind != kindDate {
			return Column{}, false
		}
		return Column{CEL: "created != null ? created : now", Once: true}, true
	case "now":
		if c.kind != kindMoment && c.kind != kindDate {
			return Column{}, false
		}
		return Column{Field: field, Once: true}, true
	case "enabled":
		return Column{Field: field}, c.kind == kindBool
	case "metadata":
		return Column{Field: field}, c.kind == kindJSON
	case "names":
		return Column{Template: "{given_name} {family_name}"}, c.kind == kindText
	case "password_hash":
		return Column{Field: field, Secret: true}, c.kind == kindText
	case "email":
		if c.folds {
			return Column{Field: field}, true
		}
	}
	return Column{Field: field}, c.kind == kindText && len(c.enum) == 0
}

// account proposes the table of the people.
func (d *drafting) account(h *heldTable) {
	t := Table{Name: h.plain, Per: perAccount, Columns: map[string]Column{}}
	at := d.at()
	key := d.key(h)
	if key != "" {
		t.Key, t.Columns[key] = []string{key}, Column{Field: "id"}
		d.comments[at+"/columns/"+key] = "The id that applications have stored."
	}
	hashes := false
	for _, c := range h.columns {
		field := meant[folded(c.name)]
		if c.name == key || field == "" || c.always {
			continue
		}
		if column, fits := columnFor(c, field); fits {
			t.Columns[c.name] = column
			hashes = hashes || field == "password_hash"
			if field == "email" {
				d.addresses(h, c)
			}
		}
	}
	d.comments[at] = "This looks like the table of the users." + d.unfilled(h, t.Columns, at)
	if hashes {
		d.comments["/hashes"] = "Password hashes that the application can verify: bcrypt, argon2id, argon2i, argon2d, firebase_scrypt. While the list is empty, everybody needs a new password."
		d.config.Hashes = []string{}
	}
	d.config.Tables = append(d.config.Tables, t)
}

// at is where the next table stands.
func (d *drafting) at() string { return sdk.Pointer("tables", fmt.Sprint(len(d.config.Tables))) }

// key is the column that can hold the ids of the source: the primary key, or another one
// that is unique, where the database makes numbers.
func (d *drafting) key(h *heldTable) string {
	for _, usual := range []bool{true, false} {
		for _, u := range h.unique {
			if len(u.columns) != 1 || u.predicate != "" {
				continue
			}
			c := h.column(u.columns[0])
			if c == nil || c.always || c.kind != kindText && c.kind != kindUUID || meant[folded(c.name)] != "" {
				continue
			}
			if isID := strings.HasSuffix(folded(c.name), "id"); isID == usual {
				return c.name
			}
		}
	}
	d.open.Add(sdk.Diagnostic{
		Code: sdk.CodeMissingField, Path: d.at() + "/key", Summary: fmt.Sprintf("the table %s has no unique column of texts or UUIDs that could hold the ids of SuperTokens", h.plain),
		Hint: "add one, such as supertokens_id text UNIQUE, and name it in key and columns",
	})
	return ""
}

// addresses proposes what holds for addresses: whether two people may have the same one.
func (d *drafting) addresses(h *heldTable, c *heldColumn) {
	for _, u := range h.unique {
		if u.predicate != "" || len(u.exprs) != 1 {
			continue
		}
		expr := strings.ToLower(strings.ReplaceAll(u.exprs[0], `"`, ""))
		lower := strings.HasPrefix(expr, "lower(") && strings.Contains(expr, strings.ToLower(c.name))
		if !slices.Equal(u.columns, []string{c.name}) && !lower {
			continue
		}
		d.config.Unique = []string{string(sdk.IdentifierEmail)}
		d.comments["/unique"] = fmt.Sprintf("No two people may have the same address: the index %s.", u.name)
		if lower || c.folds {
			d.config.FoldsCase = []string{string(sdk.IdentifierEmail)}
		}
	}
}

// unfilled says which columns get nothing, and complains where one has to.
func (d *drafting) unfilled(h *heldTable, columns map[string]Column, at string) string {
	var left []string
	for _, c := range h.columns {
		if _, filled := columns[c.name]; filled || c.always {
			continue
		}
		if c.notNull && c.defaults == "" {
			d.open.Add(sdk.Diagnostic{
				Code: sdk.CodeMissingField, Path: at + "/columns", Summary: fmt.Sprintf("%s.%s must have a value, but no field of an account fits by its name", h.plain, c.name),
				Hint: "set it under columns: a field, value, template or cel",
			})
		}
		left = append(left, c.name)
	}
	if len(left) == 0 {
		return ""
	}
	return " Not written: " + strings.Join(left, ", ") + "."
}

var (
	providerNames = []string{"provider", "providerid", "providername", "identityprovider", "idp"}
	subjectNames  = []string{"subject", "sub", "provideraccountid", "provideruserid", "accountid", "externalid", "uid", "subjectid"}
	roleNames     = []string{"role", "rolename", "roleid"}
	tenantNames   = []string{"tenant", "tenantid", "organization", "organizationid"}
)

// part proposes a table with rows for parts of an account: it refers to the people.
func (d *drafting) part(h, people *heldTable) {
	at := slices.IndexFunc(h.refers, func(r reference) bool { return r.to == people.id && len(r.columns) == 1 })
	if at < 0 || len(d.config.Tables) == 0 || !slices.Equal(h.refers[at].refs, d.config.Tables[0].Key) {
		return
	}
	find := func(names []string) string {
		for _, name := range names {
			for _, c := range h.columns {
				if folded(c.name) == name && c.kind == kindText && !c.always {
					return c.name
				}
			}
		}
		return ""
	}
	t := Table{Name: h.plain, Account: h.refers[at].columns[0]}
	t.Columns = map[string]Column{t.Account: {Field: "id"}}
	provider, subject, role, tenant := find(providerNames), find(subjectNames), find(roleNames), find(tenantNames)
	about := ""
	switch {
	case provider != "" && subject != "":
		t.Per, t.Key, about = perIdentity, []string{provider, subject}, "One row for each social login."
		t.Columns[provider], t.Columns[subject] = Column{Field: "identity.provider"}, Column{Field: "identity.subject"}
		for _, u := range h.unique {
			columns := slices.Sorted(slices.Values(u.columns))
			if u.predicate == "" && slices.Equal(columns, slices.Sorted(slices.Values(t.Key))) && !slices.Contains(d.config.Unique, string(sdk.IdentifierIdentity)) {
				d.config.Unique = append(d.config.Unique, string(sdk.IdentifierIdentity))
				d.comments["/unique"] = strings.TrimSpace(fmt.Sprintf("%s No two people may have the same identity: the index %s.", d.comments["/unique"], u.name))
			}
		}
	case role != "":
		t.Per, t.Key, about = perRole, []string{role}, "One row for each role."
		t.Columns[role] = Column{Field: "role.name"}
		if tenant != "" {
			t.Key, t.Columns[tenant] = append(t.Key, tenant), Column{Field: "role.tenant"}
		} else {
			t.When = "role.first" // a role counts once, whatever its tenants
		}
	default:
		return
	}
	for _, c := range h.columns {
		if _, filled := t.Columns[c.name]; filled || c.always {
			continue
		}
		switch field := meant[folded(c.name)]; {
		case field == "created", field == "now":
			if column, fits := columnFor(c, field); fits {
				t.Columns[c.name] = column
			}
		case folded(c.name) == "id" && c.defaults == "" && (c.kind == kindText || c.kind == kindUUID):
			t.Columns[c.name] = Column{CEL: rowID[t.Per], Once: true}
		}
	}
	place := d.at()
	d.comments[place] = about + d.unfilled(h, t.Columns, place)
	d.config.Tables = append(d.config.Tables, t)
}

// rowID makes the same id for the same row each time.
var rowID = map[string]string{
	perIdentity: "uuid5('identity ' + identity.provider + ' ' + identity.subject)",
	perRole:     "uuid5('role ' + id + ' ' + role.name + ' ' + role.tenant)",
}
