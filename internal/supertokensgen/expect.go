package supertokensgen

import "math/bits"

// Counts is what a reader must find in a database. Its fields mean what those
// of the same name in core/supertokens.Inventory mean; Findings are by code.
type Counts struct {
	Accounts, LoginMethods                 int
	ByRecipe, ByProvider, ByTenant, ByHash map[string]int
	Verified                               map[string]int
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
	c := Counts{
		ByRecipe: map[string]int{}, ByProvider: map[string]int{}, ByTenant: map[string]int{}, ByHash: map[string]int{},
		Verified: map[string]int{}, Findings: map[string]int{}, OrphanRows: map[string]int{},
	}
	has := map[string]bool{}
	for _, t := range s.tables {
		has[t.name] = true
	}
	drifted := false
	var a account
	for n := range uint64(o.Accounts) { //nolint:gosec // positive
		g.make(&a, n)
		c.account(g, &a)
		drifted = drifted || (a.late && a.tenants != 0)
	}
	for _, t := range orphanTables {
		if rows := int(g.orphans()); has[t] && rows > 0 { //nolint:gosec // a part of Accounts
			c.OrphanRows[t] = rows
			c.Findings["orphan_row"] += rows
		}
	}
	c.find("dashboard_users_present", has["dashboard_users"], len(dashboardUsers))
	c.find("bulk_import_pending", has["bulk_import_users"], stagedUsers)
	c.find("tenant_membership_differs", drifted, 1)
	if !drifted { // then the old tables are as good as the new, and are read
		delete(c.Findings, "old_table_email_stale")
	}
	return c, nil
}

func (c *Counts) find(code string, yes bool, count int) {
	if yes {
		c.Findings[code] += count
	}
}

func (c *Counts) account(g *generator, a *account) {
	c.Accounts++
	if a.external {
		c.Mapped++
	}
	if a.primary {
		c.Primaries++
	}
	if a.metadata {
		c.WithMetadata++
		c.find("double_encoded_text", a.metadataKind() == doubleEncoded, 1)
		c.find("temporary_password", a.metadataKind() == temporaryPassword, 1)
	}
	if a.roles != 0 {
		c.WithRoles++
		c.find("dangling_role", a.roles&danglingRole != 0, 1)
	}
	c.find("forced_mapping", a.forced && (a.metadata || a.roles != 0), 1)
	if a.totp != noTOTP {
		if a.totp != onlyUnfinished {
			c.WithTOTP++
		}
		c.find("totp_unverified_device", a.totp != oneDevice, 1)
		c.find("totp_under_internal_id", g.Generation.since(G4) && a.external && g.totpInternal(a), 1)
	}
	for t, name := range tenantNames {
		c.ByTenant[name] += int(a.tenants >> t & 1)
	}
	c.find("no_tenant", bits.OnesCount8(a.tenants) == 0, 1)
	c.find("duplicate_email", a.shared(), 1)
	c.find("ghost_primary", a.ghost, 1)
	passwords := 0
	logins := a.logins()
	for i := range logins {
		if logins[i].recipe == emailPassword {
			passwords++
		}
		c.login(g, a, &logins[i], i == 0 && !a.ghost)
	}
	c.find("several_passwords", passwords > 1, 1)
	if a.ghost && g.Generation.since(G1c) { // what its first login left
		gone := &a.all[0]
		c.find("stale_verified_row", gone.verified && gone.mail.form != noMail, 1)
		c.find("stale_verified_row", gone.changed, 1)
	}
}

func (c *Counts) login(g *generator, a *account, l *login, own bool) {
	c.LoginMethods++
	c.ByRecipe[recipeNames[l.recipe]]++
	if l.recipe == thirdParty {
		c.ByProvider[providers[l.provider]]++
	}
	if l.recipe == emailPassword {
		c.ByHash[l.hash.shape]++
		c.find("firebase_hash", l.hash == &firebaseHash, 1)
		c.find("unknown_hash", l.hash == &unknownFormat, 1)
	}
	c.find("fake_email", l.mail.form == fakeMail, 1)
	c.find("mixed_case_email", l.mail.form == mixedCaseMail, 1)
	c.find("time_joined_unknown", l.joined == 0, 1)
	c.find("rows_under_linked_method_id", l.ownRows, 1)
	c.Verified[c.verified(g, a, l, own)]++
	c.find("stale_verified_row", l.changed && g.Generation.since(G1c), 1)
	c.find("old_table_email_stale", l.changed && g.Generation.since(G5) && !a.late && a.tenants != 0, 1)
}

// verified says what the core, and so a reader, makes of the login's address.
func (c *Counts) verified(g *generator, a *account, l *login, own bool) string {
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
	c.find("verified_email_case_mismatch", l.verified && mixed && !left, 1)
	c.find("forced_mapping", l.verified && left && !mixed, 1)
	c.find("passwordless_email_unverified", l.recipe == passwordless, 1)
	return "false"
}
