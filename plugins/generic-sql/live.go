package sqltarget

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/stetl/stetl/core/sdk"
	"github.com/stetl/stetl/core/sdk/reconcile"
)

var _ interface {
	sdk.Target
	sdk.Capable
	sdk.Limited
	sdk.Checker
	sdk.Planner
	sdk.DoubtUndoer
	sdk.Authenticator
	sdk.Closer
} = (*live)(nil)

// live loads a running database. Load is safe for concurrent use.
type live struct {
	config Config
	model  *model
	env    sdk.Env
	notes  *notes

	opening sync.Mutex
	pool    *pgxpool.Pool
	place   *place // nil until the catalogue was read
}

// place is a database whose catalogue was read and found to fit.
type place struct {
	model     *model
	catalogue *catalogue
	places    []*physical
	judge     *reconcile.Judge
	claims    *reconcile.Claims
	secret    map[string]bool // by plain name of field
	notes     *notes
}

func newLive(c Config, m *model, env sdk.Env) *live {
	return &live{config: c, model: m, env: env, notes: &notes{journal: env.Journal, run: strings.ReplaceAll(uuid.NewString(), "-", "")[:12]}}
}

// Capabilities implements [sdk.Capable].
func (t *live) Capabilities() sdk.Capabilities { return capabilities(t.config, t.model) }

// Lacks implements [sdk.Limited]: without a place to sign in, no canary can.
func (t *live) Lacks() []sdk.Ability {
	if t.config.SignIn.URL == "" {
		return []sdk.Ability{sdk.CanLogin}
	}
	return nil
}

// Close implements [sdk.Closer].
func (t *live) Close(context.Context) error {
	t.opening.Lock()
	defer t.opening.Unlock()
	if t.pool != nil {
		t.pool.Close()
	}
	return nil
}

// connected is the pool. It connects at the first use.
func (t *live) connected() (*pgxpool.Pool, error) {
	t.opening.Lock()
	defer t.opening.Unlock()
	if t.pool != nil {
		return t.pool, nil
	}
	config, err := poolConfig(t.config)
	if err != nil {
		return nil, err
	}
	t.pool, err = pgxpool.NewWithConfig(context.Background(), config) // it does not connect yet
	return t.pool, err
}

// errURL says nothing of the address, which holds a password.
var errURL = errors.New("the address of the database cannot be read; write it like postgres://user:password@host:5432/database?sslmode=verify-full")

func poolConfig(c Config) (*pgxpool.Config, error) {
	config, err := pgxpool.ParseConfig(c.URL.Reveal())
	if err != nil {
		return nil, errURL
	}
	config.MaxConns = 5
	if c.Parallel > 0 {
		config.MaxConns = int32(c.Parallel) + 1 //nolint:gosec // bounded in the configuration
	}
	params := config.ConnConfig.RuntimeParams
	// What values look like must not depend on the role or the database.
	params["timezone"], params["datestyle"], params["intervalstyle"], params["bytea_output"] = "UTC", "ISO", "postgres", "hex"
	params["extra_float_digits"], params["standard_conforming_strings"], params["client_encoding"] = "1", "on", "UTF8"
	if params["application_name"] == "" {
		params["application_name"] = "stetl"
	}
	return config, nil
}

// open reads the catalogue, once, and refuses a database that does not fit.
func (t *live) open(ctx context.Context) (*place, error) {
	pool, err := t.connected() //nolint:contextcheck // the pool outlives the call
	if err != nil {
		return nil, err
	}
	t.opening.Lock()
	defer t.opening.Unlock()
	if t.place != nil {
		return t.place, nil
	}
	c, err := catalogueOf(ctx, pool, t.config, t.model)
	if err != nil {
		return nil, explain(err)
	}
	if problems := (&declared{t.config, t.model}).fits(c); problems.HasErrors() {
		return nil, problems.Err()
	}
	c.bind(t.model)
	p := &place{
		model: t.model, catalogue: c, places: c.physical(t.model), claims: reconcile.NewClaims(), secret: map[string]bool{}, notes: t.notes,
		judge: &reconcile.Judge{Fingerprints: t.env.Fingerprints, Place: "the database"},
	}
	for _, table := range t.model.tables {
		for _, col := range table.columns {
			if col.secret {
				p.secret[table.id+"."+col.name] = true
			}
		}
	}
	t.place = p
	return p, nil
}

// catalogueOf reads it in a transaction that can write nothing.
func catalogueOf(ctx context.Context, pool *pgxpool.Pool, config Config, m *model) (c *catalogue, err error) {
	err = pgx.BeginTxFunc(ctx, pool, readOnly, func(tx pgx.Tx) error {
		c, err = readCatalogue(ctx, tx, config.Schema, m, config.Disposable)
		return err
	})
	return c, err
}

var readOnly = pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}

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

// errClosed marks what fails because the connection is closed by now.
var errClosed = errors.New("the connection was lost")

// lostConnection says that an error is of the connection or of the server, and of no
// statement.
func lostConnection(err error) bool {
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		return slices.Contains([]string{"08", "57", "53", "28", "3D"}, e.Code[:2])
	}
	_, connecting := errors.AsType[*pgconn.ConnectError](err)
	_, network := errors.AsType[net.Error](err)
	return (connecting || network || errors.Is(err, errClosed) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF)) && !errors.Is(err, errUnknown)
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
	var all []*account
	err = pgx.BeginTxFunc(ctx, t.pool, readOnly, func(tx pgx.Tx) error {
		all, err = (&session{place: p, tx: tx}).decide(ctx, pointers, time.Now(), false)
		return err
	})
	if err != nil {
		return explain(err)
	}
	for _, a := range all {
		out.Report(sdk.Change{Outcome: a.Outcome, Fields: a.Fields})
	}
	return nil
}

// notes are what the journal keeps of transactions whose end nobody may learn: which
// accounts they have made. The database knows what became of the transaction.
type notes struct {
	journal sdk.Journal
	run     string // names the process

	mu   sync.Mutex
	free []string
	made int
}

// note is one transaction.
type note struct {
	Transaction string   `json:"transaction"`
	Accounts    []string `json:"accounts"`
}

const (
	notesKey  = "transactions" // lists the keys of notes
	mostNotes = 64
)

// take gives a place for a note that no transaction in doubt needs.
func (n *notes) take(ctx context.Context) (string, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.free) > 0 {
		key := n.free[len(n.free)-1]
		n.free = n.free[:len(n.free)-1]
		return key, nil
	}
	n.made++
	key := fmt.Sprintf("transaction-%s-%d", n.run, n.made)
	keys := append(n.keys(), key)
	for len(keys) > mostNotes {
		if err := n.journal.Put(ctx, keys[0], nil); err != nil {
			return "", err
		}
		keys = keys[1:]
	}
	raw, err := json.Marshal(keys)
	if err != nil {
		return "", err
	}
	return key, n.journal.Put(ctx, notesKey, raw)
}

// settled gives the place back: the end of its transaction is known.
func (n *notes) settled(key string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.free = append(n.free, key)
}

func (n *notes) keys() (keys []string) {
	raw, _ := n.journal.Get(notesKey)
	_ = json.Unmarshal(raw, &keys) // what is none has no keys
	return keys
}

// of are the transactions that were to make one of these accounts.
func (n *notes) of(ids map[string]bool) (out []note) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, key := range n.keys() {
		raw, ok := n.journal.Get(key)
		var one note
		if ok && json.Unmarshal(raw, &one) == nil && slices.ContainsFunc(one.Accounts, func(id string) bool { return ids[id] }) {
			out = append(out, one)
		}
	}
	return out
}

// proven are those of the accounts in doubt that a transaction of a load has made, as the
// database knows.
func (s *session) proven(ctx context.Context, accounts []*account) (map[string]bool, error) {
	doubtful := map[string]bool{}
	for _, a := range accounts {
		if a.user.Prior.InDoubt {
			doubtful[a.id] = true
		}
	}
	return s.made(ctx, doubtful)
}

func (s *session) made(ctx context.Context, doubtful map[string]bool) (map[string]bool, error) {
	out := map[string]bool{}
	if len(doubtful) == 0 {
		return out, nil
	}
	for _, n := range s.notes.of(doubtful) {
		status, err := transactionStatus(ctx, s.tx, n.Transaction)
		if err != nil {
			return nil, err
		}
		if status != "committed" {
			continue
		}
		for _, id := range n.Accounts {
			if doubtful[id] {
				out[id] = true
			}
		}
	}
	return out, nil
}

// transactionStatus is empty where the database has forgotten.
func transactionStatus(ctx context.Context, q interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}, id string,
) (string, error) {
	var status *string
	err := q.QueryRow(ctx, `SELECT CASE WHEN $1::bigint <= txid_snapshot_xmax(txid_current_snapshot()) THEN txid_status($1::bigint) END`, id).Scan(&status)
	if err != nil || status == nil {
		return "", err
	}
	return *status, nil
}
