package supertokensgen

// tableData says how one table is filled. Columns that a generation's table
// lacks are left out of its rows.
type tableData struct {
	columns []string
	// rows writes those of one account, once the rows of the table that belong
	// to no account are written.
	rows func(g *generator, r *row, a *account)
	// fixed writes rows that belong to no account.
	fixed func(g *generator, r *row)
}

// tables holds the tables that get rows; the others of a schema stay empty.
var tables = map[string]tableData{
	"apps": {columns: []string{"app_id", "created_at_time"}, fixed: func(_ *generator, r *row) {
		r.text("public").num(firstJoined).end()
	}},
	"tenants": {columns: []string{"app_id", "tenant_id", "created_at_time"}, fixed: func(_ *generator, r *row) {
		for _, t := range tenantNames {
			r.text("public").text(t).num(firstJoined).end()
		}
	}},
	"tenant_configs": {
		columns: []string{"connection_uri_domain", "app_id", "tenant_id", "core_config", "email_password_enabled", "passwordless_enabled", "third_party_enabled", "is_first_factors_null"},
		fixed: func(_ *generator, r *row) {
			for _, t := range tenantNames {
				r.text("").text("public").text(t).text("{}").flag(true).flag(true).flag(true).flag(true).end()
			}
		},
	},
	"roles": {columns: []string{"app_id", "role"}, fixed: func(_ *generator, r *row) {
		for _, name := range roleNames[:len(roleNames)-1] {
			r.text("public").text(name).end()
		}
	}},
	"dashboard_users": {columns: []string{"app_id", "user_id", "email", "password_hash", "time_joined"}, fixed: func(g *generator, r *row) {
		for i, name := range dashboardUsers {
			d := draw(g.seed.of(^uint64(i)))
			r.text("public").uuid(uuid{d.of(forIDHigh), d.of(forIDLow)}).text(name).hash(&login{draw: d, hash: &bcrypt2a}).num(firstJoined).end()
		}
	}},
	"bulk_import_users": {columns: []string{"id", "app_id", "raw_data", "status", "created_at", "updated_at"}, fixed: func(g *generator, r *row) {
		for i := range uint64(stagedUsers) {
			r.uuid(g.nobody("bulk_import_users", i)).text("public").text("{}").text("NEW").num(firstJoined).num(firstJoined).end()
		}
	}},
	"app_id_to_user_id": {
		columns: []string{"app_id", "user_id", "recipe_id", "primary_or_recipe_user_id", "is_linked_or_is_a_primary_user", "time_joined", "primary_or_recipe_user_time_joined"},
		rows: func(_ *generator, r *row, a *account) {
			for i := range a.count {
				l := &a.all[i]
				r.text("public").uuid(l.id).text(recipeNames[l.recipe]).uuid(a.all[0].id).flag(a.primary).num(l.joined).num(a.joined()).end()
			}
		},
	},
	"all_auth_recipe_users": {
		columns: []string{"app_id", "tenant_id", "user_id", "primary_or_recipe_user_id", "is_linked_or_is_a_primary_user", "recipe_id", "time_joined", "primary_or_recipe_user_time_joined"},
		rows: func(_ *generator, r *row, a *account) {
			a.eachOldTenant(func(l *login, tenant string) {
				r.text("public").text(tenant).uuid(l.id).uuid(a.all[0].id).flag(a.primary).text(recipeNames[l.recipe]).num(l.joined).num(a.joined()).end()
			})
		},
	},
	"emailpassword_users": {
		columns: []string{"app_id", "user_id", "email", "password_hash", "time_joined", "is_email_verified"},
		rows: func(_ *generator, r *row, a *account) {
			for l := range a.by(emailPassword) {
				r.text("public").uuid(l.id).mail(l).hash(l).num(l.joined).flag(l.verified).end()
			}
		},
	},
	"emailpassword_user_to_tenant": {
		columns: []string{"app_id", "tenant_id", "user_id", "email"},
		rows: func(g *generator, r *row, a *account) {
			a.eachOldTenant(func(l *login, tenant string) {
				if l.recipe == emailPassword {
					r.text("public").text(tenant).uuid(l.id).prefixed(g.oldCopy(l), l).end()
				}
			})
		},
	},
	"thirdparty_users": {
		columns: []string{"app_id", "third_party_id", "third_party_user_id", "user_id", "email", "time_joined"},
		rows: func(_ *generator, r *row, a *account) {
			for l := range a.by(thirdParty) {
				r.text("public").text(providers[l.provider]).subject(l).uuid(l.id).mail(l).num(l.joined).end()
			}
		},
	},
	"thirdparty_user_to_tenant": {
		columns: []string{"app_id", "tenant_id", "user_id", "third_party_id", "third_party_user_id"},
		rows: func(_ *generator, r *row, a *account) {
			a.eachOldTenant(func(l *login, tenant string) {
				if l.recipe == thirdParty {
					r.text("public").text(tenant).uuid(l.id).text(providers[l.provider]).subject(l).end()
				}
			})
		},
	},
	"passwordless_users": {
		columns: []string{"app_id", "user_id", "email", "phone_number", "time_joined"},
		rows: func(_ *generator, r *row, a *account) {
			for l := range a.by(passwordless) {
				r.text("public").uuid(l.id).mail(l).phone(l).num(l.joined).end()
			}
		},
	},
	"passwordless_user_to_tenant": {
		columns: []string{"app_id", "tenant_id", "user_id", "email", "phone_number"},
		rows: func(_ *generator, r *row, a *account) {
			a.eachOldTenant(func(l *login, tenant string) {
				if l.recipe == passwordless {
					r.text("public").text(tenant).uuid(l.id).mail(l).phone(l).end()
				}
			})
		},
	},
	"recipe_user_tenants": {
		columns: []string{"app_id", "recipe_user_id", "tenant_id", "recipe_id", "account_info_type", "account_info_value", "third_party_id", "third_party_user_id"},
		rows: func(_ *generator, r *row, a *account) {
			a.eachTenant(func(l *login, tenant string) {
				r.eachInfo(l, func() { r.text("public").uuid(l.id).text(tenant).text(recipeNames[l.recipe]) }, func() { r.end() })
			})
		},
	},
	"recipe_user_account_infos": {
		columns: []string{"app_id", "recipe_user_id", "recipe_id", "account_info_type", "account_info_value", "third_party_id", "third_party_user_id", "primary_user_id"},
		rows: func(_ *generator, r *row, a *account) {
			for i := range a.logins() {
				l := &a.logins()[i]
				r.eachInfo(l, func() { r.text("public").uuid(l.id).text(recipeNames[l.recipe]) }, func() {
					if a.primary {
						r.uuid(a.all[0].id).end()
					} else {
						r.null().end()
					}
				})
			}
		},
	},
	"userid_mapping": {
		columns: []string{"app_id", "supertokens_user_id", "external_user_id", "external_user_id_info"},
		rows: func(_ *generator, r *row, a *account) {
			if a.external {
				r.text("public").uuid(a.all[0].id).externalID(a).null().end()
			}
		},
	},
	"emailverification_verified_emails": {
		columns: []string{"app_id", "user_id", "email"},
		fixed: func(g *generator, r *row) {
			for i := range g.orphans() {
				r.text("public").uuid(g.nobody("emailverification_verified_emails", i)).text("gone@acme.example").end()
			}
		},
		rows: func(_ *generator, r *row, a *account) {
			for i := range a.count { // a ghost's first login left its rows behind
				l := &a.all[i]
				if l.mail.form == noMail {
					continue
				}
				if l.verified {
					proven := *l
					if l.mail.form == mixedCaseMail {
						proven.mail.form = plainMail
					}
					r.text("public").visible(a, i, a.forced).mail(&proven).end()
				}
				if l.changed {
					r.text("public").visible(a, i, a.forced).prefixed("old.", l).end()
				}
			}
		},
	},
	"user_metadata": {
		columns: []string{"app_id", "user_id", "user_metadata"},
		fixed: func(g *generator, r *row) {
			for i := range g.orphans() {
				r.text("public").uuid(g.nobody("user_metadata", i)).text("{}").end()
			}
		},
		rows: func(_ *generator, r *row, a *account) {
			if a.metadata {
				r.text("public").visible(a, 0, a.forced).metadata(a).end()
			}
			for i := 1; i < a.count; i++ {
				if a.all[i].ownRows {
					r.text("public").visible(a, i, false).text(`{"kept":"from before linking"}`).end()
				}
			}
		},
	},
	"user_roles": {
		columns: []string{"app_id", "tenant_id", "user_id", "role"},
		fixed: func(g *generator, r *row) {
			for i := range g.orphans() {
				r.text("public").text("public").uuid(g.nobody("user_roles", i)).text("viewer").end()
			}
		},
		rows: func(_ *generator, r *row, a *account) {
			for i, name := range roleNames {
				if a.roles>>i&1 == 1 {
					r.text("public").text("public").visible(a, 0, a.forced).text(name).end()
				}
			}
		},
	},
	"totp_users": {
		columns: []string{"app_id", "user_id"},
		fixed: func(g *generator, r *row) {
			for i := range g.orphans() {
				r.text("public").uuid(g.nobody("totp_users", i)).end()
			}
		},
		rows: func(g *generator, r *row, a *account) {
			if a.totp != noTOTP {
				r.text("public").visible(a, 0, g.totpInternal(a)).end()
			}
		},
	},
	"totp_user_devices": {
		columns: []string{"app_id", "user_id", "device_name", "secret_key", "period", "skew", "verified", "created_at"},
		rows: func(g *generator, r *row, a *account) {
			device := func(name string, number uint64, verified bool) {
				r.text("public").visible(a, 0, g.totpInternal(a)).text(name).secret(draw(a.draw.of(forTOTP + number<<32))).
					num(30).num(1).flag(verified).num(a.all[0].joined + 1).end()
			}
			switch a.totp {
			case oneDevice:
				device("TOTP Device 0", 0, true)
			case secondUnfinished:
				device("TOTP Device 0", 0, true)
				device("új telefon", 1, false)
			case onlyUnfinished:
				device("TOTP Device 0", 0, false)
			case noTOTP:
			}
		},
	},
	"user_last_active": {
		columns: []string{"app_id", "user_id", "last_active_time"},
		fixed: func(g *generator, r *row) {
			for i := range g.orphans() {
				r.text("public").uuid(g.nobody("user_last_active", i)).num(firstJoined).end()
			}
		},
		rows: func(_ *generator, r *row, a *account) {
			if a.active {
				last := int64(a.draw.below(forActive, 365*24*3600*1000))
				r.text("public").uuid(a.all[0].id).num(firstJoined + joiningTime + last).end()
			}
		},
	},
}

// orphanTables hold rows of ids that are nobody's.
var orphanTables = []string{"emailverification_verified_emails", "totp_users", "user_last_active", "user_metadata", "user_roles"}

var dashboardUsers = []string{"ops@acme.example", "support@acme.example"}

const stagedUsers = 3

// orphans is how many orphan rows each of the tables gets.
func (g *generator) orphans() uint64 { return uint64(g.Accounts+999) / 1000 } //nolint:gosec // positive

// nobody is an id that no account has.
func (g *generator) nobody(table string, i uint64) uuid {
	d := g.seed
	for _, c := range []byte(table) {
		d = draw(d.of(^uint64(c)))
	}
	return uuid{d.of(2 * i), d.of(2*i + 1)}
}

// oldCopy prefixes the address in core 12's old table, which is no longer
// written when an address changes.
func (g *generator) oldCopy(l *login) string {
	if g.Generation.since(G5) && l.changed {
		return "old."
	}
	return ""
}

// totpInternal reports whether the account's devices lie under the internal
// id: they all did before core 8.0, and some were left there by it.
func (g *generator) totpInternal(a *account) bool {
	return !g.Generation.since(G4) || a.draw.below(forTOTPPlace, 10) == 0
}

// joined is when the first of the logins was made.
func (a *account) joined() int64 {
	first := a.all[0].joined
	for i := 1; i < a.count; i++ {
		first = min(first, a.all[i].joined)
	}
	return first
}

// by gives the existing logins of one recipe.
func (a *account) by(r recipe) func(yield func(*login) bool) {
	return func(yield func(*login) bool) {
		logins := a.logins()
		for i := range logins {
			if logins[i].recipe == r && !yield(&logins[i]) {
				return
			}
		}
	}
}

func (a *account) eachTenant(fn func(l *login, tenant string)) {
	logins := a.logins()
	for i := range logins {
		for t, name := range tenantNames {
			if a.tenants>>t&1 == 1 {
				fn(&logins[i], name)
			}
		}
	}
}

// eachOldTenant is eachTenant for the tables that core 12 stopped writing.
func (a *account) eachOldTenant(fn func(l *login, tenant string)) {
	if !a.late {
		a.eachTenant(fn)
	}
}
