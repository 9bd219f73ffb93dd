package migration

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stetl/stetl/core/canonical"
	"github.com/stetl/stetl/core/config"
	"github.com/stetl/stetl/core/supertokens"
	"github.com/stetl/stetl/internal/supertokensgen"
)

// What the engine reads is reviewed as it would be on its own, once however often it
// is read.
func TestAccountsAreReviewedOnce(t *testing.T) {
	t.Parallel()
	dump := filepath.Join(t.TempDir(), "generated.sql")
	f, err := os.Create(dump)
	if err != nil {
		t.Fatal(err)
	}
	if err := supertokensgen.Write(f, supertokensgen.Options{Generation: supertokensgen.G5, Accounts: 3000, Seed: 1}); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	src, err := supertokens.Open(t.Context(), supertokens.Options{Dump: dump, Audit: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = src.Close() })
	alone, beside := supertokens.NewReview(src), supertokens.NewReview(src)
	var want []string
	err = src.Read(t.Context(), func(b supertokens.Batch) error {
		for i := range b.Users {
			want = append(want, b.Users[i].InternalID)
		}
		return alone.Add(b)
	})
	if err != nil {
		t.Fatal(err)
	}
	acc := &accounts{Source: &Source{cfg: &config.Config{}, src: src}, review: beside}
	for range 2 {
		var got []string
		err := acc.Accounts(t.Context(), func(users []canonical.User) error {
			for i := range users {
				got = append(got, users[i].InternalID)
			}
			return nil
		})
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%v, accounts (-read +emitted):\n%s", err, diff)
		}
	}
	findings := func(r *supertokens.Review) []supertokens.Finding {
		all, err := r.Findings()
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		return all
	}
	known := findings(alone)
	if diff := cmp.Diff(known, findings(beside)); diff != "" {
		t.Errorf("findings (-alone +beside a run):\n%s", diff)
	}
	codes := map[string]bool{}
	for _, f := range known {
		codes[f.Code] = true
	}
	if !codes[supertokens.WarnOrphanRow] || !codes[supertokens.WarnDuplicateEmail] {
		t.Errorf("the source has too little to be reviewed: %v", codes)
	}
}
