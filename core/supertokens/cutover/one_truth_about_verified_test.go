//go:build unix

package cutover_test

import (
	"strings"
	"testing"

	"github.com/stetl/stetl/core/canonical"
	"github.com/stetl/stetl/core/supertokens"
	"github.com/stetl/stetl/internal/testserver/fixture"
	"github.com/stetl/stetl/internal/testserver/postgres"
)

// twists change a fixture so that it matters where a verification lies.
var twists = map[string]string{
	"as made": "",
	// What createUserIdMapping with force=true leaves behind: the mapping is there,
	// the verification still lies under the internal id.
	"forced mapping": `INSERT INTO userid_mapping (app_id, supertokens_user_id, external_user_id)
		SELECT u.app_id, u.user_id, 'forced-' || u.user_id FROM emailpassword_users u
		JOIN emailverification_verified_emails v ON v.app_id = u.app_id AND v.user_id = u.user_id::text AND v.email = u.email
		WHERE u.app_id = 'public' AND NOT EXISTS (SELECT 1 FROM userid_mapping m WHERE m.supertokens_user_id = u.user_id)
		LIMIT 3`,
	// A linked, non-primary password login that is mapped, with its verification where
	// the core looks: under the login's visible id.
	"linked login with an external id of its own": `WITH l AS (
			SELECT u.app_id, u.user_id, u.email FROM emailpassword_users u JOIN app_id_to_user_id s USING (app_id, user_id)
			WHERE u.app_id = 'public' AND s.primary_or_recipe_user_id <> s.user_id
			AND NOT EXISTS (SELECT 1 FROM userid_mapping m WHERE m.supertokens_user_id = u.user_id)
		), gone AS (DELETE FROM emailverification_verified_emails v USING l WHERE v.email = l.email),
		m AS (INSERT INTO userid_mapping (app_id, supertokens_user_id, external_user_id) SELECT app_id, user_id, 'ext-' || user_id FROM l)
		INSERT INTO emailverification_verified_emails (app_id, user_id, email) SELECT app_id, 'ext-' || user_id, email FROM l`,
}

// TestOneTruthAboutVerified: a run and the bridge agree about every password login:
// whose it is, and whether its address is verified.
func TestOneTruthAboutVerified(t *testing.T) {
	t.Parallel()
	for _, name := range fixture.Names(t) {
		generation := fixture.Read(t, name).Generation
		for twist, sql := range twists {
			if sql != "" && (generation < "G3" || generation == "G3" && strings.HasPrefix(twist, "linked")) {
				continue // which has no apps, or does not link
			}
			t.Run(name+"/"+twist, func(t *testing.T) {
				t.Parallel()
				dsn := fixture.Restore(t, name)
				if sql != "" {
					postgres.Exec(t, dsn, sql)
				}
				compareVerified(t, dsn)
			})
		}
	}
}

func compareVerified(t *testing.T, dsn string) {
	t.Helper()
	db := open(t, dsn, "", fixed)
	src, err := supertokens.Open(t.Context(), supertokens.Options{URL: canonical.NewSecret(dsn)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := src.Close(); err != nil {
			t.Error(err)
		}
	}()
	compared := 0
	err = src.Read(t.Context(), func(b supertokens.Batch) error {
		for i := range b.Users {
			u := &b.Users[i]
			for _, l := range u.Logins {
				// An address in mixed case, from before core 3.2, nobody can sign in with.
				if l.Recipe != canonical.EmailPassword || l.Email == nil || len(l.Tenants) == 0 || *l.Email != strings.ToLower(*l.Email) {
					continue
				}
				c, err := db.Passwords.Candidate(t.Context(), l.Tenants[0], *l.Email)
				if err != nil || c.User.LoginID != l.ID || c.User.ID != u.ID || c.User.InternalID != u.InternalID {
					t.Errorf("login %s of account %s: the bridge found %+v, %v", l.ID, u.ID, c.User, err)
					continue
				}
				compared++
				if run := l.Verified != nil && *l.Verified; run != c.Verified {
					t.Errorf("login %s of account %s: a run says verified=%v, the bridge says verified=%v (warnings %v)", l.ID, u.ID, run, c.Verified, u.Warnings)
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if compared == 0 {
		t.Error("nothing was compared")
	}
}
