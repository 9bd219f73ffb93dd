package sqltarget

import (
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/stetl/stetl/core/sdk"
	"github.com/stetl/stetl/core/sdk/reconcile"
)

var _ interface {
	sdk.Target
	sdk.Capable
	sdk.Limited
	sdk.RoleKeeper
	sdk.Checker
	sdk.SignInReporter
	sdk.Planner
	sdk.DoubtUndoer
	sdk.Authenticator
	sdk.Finisher
	sdk.Closer
} = (*live)(nil)

// live loads a running database. Load is safe for concurrent use.
type live struct {
	sdk.DefinedRoles
	finishing
	config Config
	model  *model
	env    sdk.Env
	notes  *notes

	server  server
	opening sync.Mutex
	place   *place // nil until the catalogue was read
}

// place is a database whose catalogue was read and found to fit.
type place struct {
	server    server
	model     *model
	catalogue *catalogue
	places    []*physical
	judge     *reconcile.Judge
	claims    *reconcile.Claims
	secret    map[string]bool // by plain name of field
	faithful  map[*table]bool // gives back what was written, as it was
	notes     *notes
}

func newLive(c Config, m *model, s server, env sdk.Env) *live {
	t := &live{config: c, model: m, server: s, env: env, notes: &notes{journal: env.Journal, run: strings.ReplaceAll(uuid.NewString(), "-", "")[:12]}}
	t.finishing = finishing{t}
	return t
}

// Capabilities implements [sdk.Capable].
func (t *live) Capabilities() sdk.Capabilities { return capabilities(t.config, t.model) }

// Lacks implements [sdk.Limited]: without a place to sign in, no canary can, and without a
// place for a hash nobody gets a new password.
func (t *live) Lacks() (all []sdk.Ability) {
	if t.config.SignIn.URL == "" {
		all = append(all, sdk.CanLogin)
	}
	if !settable(&t.config, t.model) {
		all = append(all, sdk.CanSetPassword)
	}
	return all
}

// Close implements [sdk.Closer].
func (t *live) Close(context.Context) error { return t.server.close() }

// open reads the catalogue, once, and refuses a database that does not fit.
func (t *live) open(ctx context.Context) (*place, error) {
	t.opening.Lock()
	defer t.opening.Unlock()
	if t.place != nil {
		return t.place, nil
	}
	c, err := catalogueOf(ctx, t.server, t.config, t.model)
	if err != nil {
		return nil, explain(err)
	}
	if problems := (&declared{t.config, t.model}).fits(c); problems.HasErrors() {
		return nil, problems.Err()
	}
	c.bind(t.model)
	p := &place{
		server: t.server, model: t.model, catalogue: c, places: c.physical(t.model), claims: reconcile.NewClaims(), secret: map[string]bool{}, faithful: map[*table]bool{}, notes: t.notes,
		judge: &reconcile.Judge{Fingerprints: t.env.Fingerprints, Place: "the database"},
	}
	for _, table := range t.model.tables {
		p.faithful[table] = c.of(table).faithful && !slices.ContainsFunc(table.columns, func(col *column) bool {
			return !col.held.known || col.held.kind == kindNumber || col.held.kind == kindJSON
		})
		for _, col := range table.columns {
			if col.secret {
				p.secret[table.id+"."+col.name] = true
			}
		}
	}
	t.place = p
	return p, nil
}

// catalogueOf reads it in one transaction.
func catalogueOf(ctx context.Context, s server, config Config, m *model) (*catalogue, error) {
	tx, err := s.begin(ctx, asking)
	if err != nil {
		return nil, err
	}
	defer tx.close(ctx)
	return readCatalogue(ctx, s, tx, &config, m)
}

// explain adds to an error what the operator can do about it.
func explain(err error) error {
	if !lostConnection(err) {
		return err
	}
	return sdk.Diagnostics{unreachable(err)}.Err()
}

func unreachable(err error) sdk.Diagnostic {
	return sdk.Diagnostic{Code: codeUnreachable, Path: "/url", Summary: "the database cannot be asked: " + plainError(err), Hint: "check the url, the network and the certificate"}
}

// networkError says that an error is of the connection.
func networkError(err error) bool {
	_, network := errors.AsType[net.Error](err)
	return network || errors.Is(err, errClosed) || errors.Is(err, errLostAnswer) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF)
}

// Plan implements [sdk.Planner]. Its transaction can write nothing.
func (t *live) Plan(ctx context.Context, users []sdk.User, out sdk.Changes) error {
	p, err := t.open(ctx)
	if err != nil {
		return err
	}
	pointers := make([]*sdk.User, len(users))
	for i := range users {
		pointers[i] = &users[i]
	}
	tx, err := t.server.begin(ctx, reading)
	if err != nil {
		return explain(err)
	}
	defer tx.close(ctx)
	all, err := (&session{place: p, tx: tx}).decide(ctx, pointers, time.Now(), false)
	if err != nil {
		return explain(err)
	}
	for _, a := range all {
		out.Report(sdk.Change{Outcome: a.Outcome, Fields: a.Fields})
	}
	return nil
}
