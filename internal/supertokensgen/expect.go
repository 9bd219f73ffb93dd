package supertokensgen

// Counts is what a reader must find in a database. Its fields mean what those
// of the same name in core/supertokens.Inventory mean; Findings are by code, and
// an account counts once for each.
type Counts struct {
	Accounts, LoginMethods                 int
	ByRecipe, ByProvider, ByTenant, ByHash map[string]int
	Verified, MetadataKeys                 map[string]int
	Mapped, Primaries                      int
	WithMetadata, WithRoles, WithTOTP      int
	Findings                               map[string]int
	// OrphanRows counts, by table, rows that belong to no account.
	OrphanRows map[string]int
}

// Expect counts what [Write] writes for the same options.
func Expect(o Options) (Counts, error) {
	s, err := loadSchema(o.Generation)
	if err != nil {
		return Counts{}, err
	}
	g := newGenerator(o)
	c := counter{codes: map[string]bool{}, Counts: Counts{
		ByRecipe: map[string]int{}, ByProvider: map[string]int{}, ByTenant: map[string]int{}, ByHash: map[string]int{},
		Verified: map[string]int{}, Findings: map[string]int{}, OrphanRows: map[string]int{}, MetadataKeys: map[string]int{},
	}}
	has := map[string]bool{}
	for _, t := range s.tables {
		has[t.name] = true
	}
	drifted := false
	var a account
	for n := range uint64(o.Accounts) { //nolint:gosec // positive
		g.fill(&a, n)
		c.account(g, &a)
		for code := range c.codes {
			c.Findings[code]++
		}
		clear(c.codes)
		drifted = drifted || (a.late && a.tenants != 0)
	}
	for _, t := range orphanTables {
		if rows := int(g.orphans()); has[t] && rows > 0 { //nolint:gosec // a part of Accounts
			c.OrphanRows[t] = rows
			c.Findings["orphan_row"] += rows
		}
	}
	if has["dashboard_users"] {
		c.Findings["dashboard_users_present"] = len(dashboardUsers)
	}
	if has["bulk_import_users"] {
		c.Findings["bulk_import_pending"] = stagedUsers
	}
	if drifted {
		c.Findings["tenant_membership_differs"] = 1
	} else { // then the old tables are as good as the new, and are read
		delete(c.Findings, "old_table_email_stale")
	}
	return c.Counts, nil
}

// counter counts account by account.
type counter struct {
	Counts
	// codes are the findings about the account at hand: it counts once for each.
	codes map[string]bool
}

func (c *counter) find(code string, yes bool) {
	if yes {
		c.codes[code] = true
	}
}

func (c *counter) account(g *generator, a *account) {
	c.Accounts++
	if a.external {
		c.Mapped++
	}
	if a.primary {
		c.Primaries++
	}
	// What a forced mapping has left under the internal id is nothing that the core sees.
	if a.metadata && !a.forced {
		c.WithMetadata++
		for _, key := range a.metadataKeys() {
			c.MetadataKeys[key]++
		}
		c.find("double_encoded_text", a.metadataKind() == doubleEncoded)
		c.find("temporary_password", a.metadataKind() == temporaryPassword)
	}
	if a.roles != 0 && !a.forced {
		c.WithRoles++
		c.find("dangling_role", a.roles&danglingRole != 0)
	}
	c.find("forced_mapping", a.forced && (a.metadata || a.roles != 0))
	left := g.Generation.since(G4) && a.external && g.totpInternal(a)
	c.find("totp_under_internal_id", a.totp != noTOTP && left)
	if a.totp != noTOTP && !left {
		if a.totp != onlyUnfinished {
			c.WithTOTP++
		}
		c.find("totp_unverified_device", a.totp != oneDevice)
	}
	for t, name := range tenantNames {
		c.ByTenant[name] += int(a.tenants >> t & 1)
	}
	c.find("no_tenant", a.tenants == 0)
	c.find("duplicate_email", a.shared())
	c.find("ghost_primary", a.ghost)
	passwords := 0
	logins := a.logins()
	for i := range logins {
		if logins[i].recipe == emailPassword {
			passwords++
		}
		c.login(g, a, &logins[i], i == 0 && !a.ghost)
	}
	c.find("several_passwords", passwords > 1)
	if a.ghost && g.Generation.since(G1c) { // what its first login left
		gone := &a.all[0]
		c.find("stale_verified_row", gone.verified && gone.mail.form != noMail)
		c.find("stale_verified_row", gone.changed)
	}
}

func (c *counter) login(g *generator, a *account, l *login, own bool) {
	c.LoginMethods++
	c.ByRecipe[recipeNames[l.recipe]]++
	if l.recipe == thirdParty {
		c.ByProvider[providers[l.provider]]++
	}
	if l.recipe == emailPassword {
		c.ByHash[l.hash.shape]++
		c.find("firebase_hash", l.hash == &firebaseHash)
		c.find("unknown_hash", l.hash == &unknownFormat)
	}
	c.find("fake_email", l.mail.form == fakeMail)
	c.find("mixed_case_email", l.mail.form == mixedCaseMail)
	c.find("time_joined_unknown", l.joined == 0)
	c.find("rows_under_linked_method_id", l.ownRows)
	c.Verified[c.verified(g, a, l, own)]++
	c.find("stale_verified_row", l.changed && g.Generation.since(G1c))
	c.find("old_table_email_stale", l.changed && g.Generation.since(G5) && !a.late && a.tenants != 0)
}

// verified says what the core, and so a reader, makes of the login's address.
func (c *counter) verified(g *generator, a *account, l *login, own bool) string {
	switch {
	case l.mail.form == noMail:
		return "true"
	case g.Generation == G1a:
		return "unknown"
	case g.Generation == G1b && l.verified:
		return "true"
	case g.Generation == G1b:
		return "false"
	}
	left := own && a.forced // the row stayed where the core does not look
	mixed := l.mail.form == mixedCaseMail
	if l.verified && !left && !mixed {
		return "true"
	}
	c.find("verified_email_case_mismatch", l.verified && mixed && !left)
	c.find("forced_mapping", l.verified && left && !mixed)
	c.find("passwordless_email_unverified", l.recipe == passwordless)
	return "false"
}
