//go:build unix

package migration_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/stetl/stetl/core/config"
	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/migration"
	"github.com/stetl/stetl/core/pluginapi"
	"github.com/stetl/stetl/internal/testserver/postgres"
)

// shared opens a configuration whose journal is in a database.
func (p place) shared(t *testing.T, dsn string, o migration.Options) (*migration.Migration, error) {
	t.Helper()
	o.Plugins.Bundled = bundled
	vars := map[string]string{"URL": dsn, config.JournalKeyVariable: strings.Repeat("c3RldGwg", 8)}
	return migration.Open(t.Context(), migration.Load(p.path, config.Env{Lookup: func(name string) (string, bool) {
		v, ok := vars[name]
		return v, ok
	}}), o)
}

// A run with its journal in PostgreSQL is a run like every other. One in a database of
// SuperTokens is warned of.
func TestRunWithJournalInPostgres(t *testing.T) {
	t.Parallel()
	dsn := postgres.Start(t).CreateDatabase(t, postgres.Database{})
	p := newPlace(t, toFolder+"journal: ${env:URL}\n")
	for _, beside := range []bool{false, true} {
		m, err := p.shared(t, dsn, migration.Options{})
		if err != nil {
			t.Fatal(err)
		}
		r, err := m.Run(t.Context(), migration.RunOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if first := r.Result.Summary.Created > 0; first == beside {
			t.Errorf("%+v", r.Result.Summary)
		}
		warned := slices.ContainsFunc(r.Result.Diagnostics, func(d diag.Diagnostic) bool {
			return d.Code == diag.JournalBesideSource && d.Severity == diag.Warning && d.Path == "/journal"
		})
		if warned != beside {
			t.Errorf("beside SuperTokens: %v, warned: %v", beside, warned)
		}
		closed(t, m)
		postgres.Exec(t, dsn, `CREATE TABLE IF NOT EXISTS emailpassword_users (id text)`)
	}
	m, err := p.shared(t, dsn, migration.Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer closed(t, m)
	past, err := m.Past()
	if err != nil {
		t.Fatal(err)
	}
	if h, err := past.Report(t.Context(), 0); err != nil || h.Run.ID != 2 || h.Outcomes[pluginapi.Created] == 0 {
		t.Errorf("%+v, %v", h, err)
	}
}

// A run whose journal another run holds meanwhile ends, and says why.
func TestRunLosesItsJournal(t *testing.T) {
	t.Parallel()
	dsn := postgres.Start(t).CreateDatabase(t, postgres.Database{})
	p := newPlace(t, toFolder+"journal: ${env:URL}\n")
	m, err := p.shared(t, dsn, migration.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer closed(t, m)
	taken := false
	_, err = m.Run(t.Context(), migration.RunOptions{Outcome: func(pluginapi.Change) {
		if !taken {
			postgres.Exec(t, dsn, `UPDATE stetl.lease SET token = 'another', fence = fence + 1`)
		}
		taken = true
	}})
	if !errors.As(err, new(migration.RefusedError)) || !strings.Contains(err.Error(), string(diag.JournalLease)) {
		t.Errorf("error %v", err)
	}
}

// Without its secret, or with another one, a journal in PostgreSQL is not opened.
func TestJournalKeyIsNeeded(t *testing.T) {
	t.Parallel()
	p := newPlace(t, toFolder+"journal: postgres://nobody@127.0.0.1:1/nothing\n")
	_, err := migration.Open(t.Context(), migration.Load(p.path, config.Env{Lookup: func(string) (string, bool) { return "", false }}), migration.Options{})
	found, ok := errors.AsType[*diag.ListError](err)
	if !ok || len(found.List) != 1 || found.List[0].Code != diag.JournalKey || !strings.Contains(found.List[0].Hint, "openssl rand -base64 32") || found.List[0].Pos.Line == 0 {
		t.Errorf("error %v", err)
	}
}
