package sqltarget

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/stetl/stetl/core/sdk"
)

// notes are what the journal keeps of transactions whose end nobody may learn: which
// accounts they have made. The database knows what became of the transaction, or its rows
// tell.
type notes struct {
	journal sdk.Journal
	run     string // names the process

	mu   sync.Mutex
	free []string
	made int
}

// note is one transaction.
type note struct {
	// Transaction is what the database knows it by.
	Transaction string   `json:"transaction,omitempty"`
	Accounts    []string `json:"accounts"`
	// Left are fingerprints of all that the accounts have after it, in the same order, where
	// the database keeps no record of transactions: nobody else would have made the same
	// rows, with the time of the load in them.
	Left []string `json:"left,omitempty"`
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

// keep writes a note before its transaction ends.
func (n *notes) keep(ctx context.Context, what note) (key string, err error) {
	raw, err := json.Marshal(what)
	if err != nil {
		return "", err
	}
	if key, err = n.take(ctx); err != nil {
		return "", err
	}
	return key, n.journal.Put(ctx, key, raw)
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

// made are those of the accounts in doubt that a transaction of a load has made, as the
// database knows or as the rows say that are held.
func (s *session) made(ctx context.Context, doubtful map[string]bool, held map[string][]*row) (map[string]bool, error) {
	out := map[string]bool{}
	if len(doubtful) == 0 {
		return out, nil
	}
	for _, n := range s.notes.of(doubtful) {
		committed := false
		if n.Transaction != "" {
			status, err := s.tx.ended(ctx, n.Transaction)
			if err != nil {
				return nil, err
			}
			committed = status == statusCommitted
		}
		for i, id := range n.Accounts {
			if doubtful[id] && (committed || i < len(n.Left) && len(held[id]) > 0 && n.Left[i] == s.print(held[id])) {
				out[id] = true
			}
		}
	}
	return out, nil
}

// print is a fingerprint of everything that is declared of an account, also of what is
// never compared.
func (p *place) print(rows []*row) string {
	var all []string
	for _, r := range rows {
		for i, c := range r.table.columns {
			all = append(all, fmt.Sprintf("%s\x00%v\x00%s", r.field(c), r.values[i].null, r.values[i].text))
		}
	}
	slices.Sort(all)
	// A state has more digits than what is shown to people, and has to.
	return hex.EncodeToString(p.judge.Fingerprints.State(map[string]string{"rows": strings.Join(all, "\x00\x00")}))
}

// What a database says of a transaction that has ended.
const (
	statusCommitted = "committed"
	statusAborted   = "aborted"
)

// ending is a transaction at its end: what it is known by, or how accounts look before it
// and after it.
type ending struct {
	transaction string
	before      map[string]string
	after       map[string]string
}

// ends prepares the end of a transaction that changes accounts. before has their rows as
// they were, after gives those that are there now.
func (s *session) ends(ctx context.Context, ids []string, before map[string][]*row, after func() (map[string][]*row, error)) (ending, error) {
	name, err := s.tx.name(ctx)
	e := ending{transaction: name, before: map[string]string{}, after: map[string]string{}}
	if err != nil || name != "" {
		return e, err
	}
	now, err := after()
	if err != nil {
		return e, err
	}
	for _, id := range ids {
		if one, other := s.print(before[id]), s.print(now[id]); one != other {
			e.before[id], e.after[id] = one, other
		}
	}
	return e, nil
}

var errUnknown = errors.New("it is unknown whether the batch was written")

const (
	becameTimeout = 10 * time.Second
	becamePause   = 200 * time.Millisecond
)

// commit ends a transaction. Where the answer is lost, the database is asked what became
// of it.
func (s *session) commit(ctx context.Context, e ending) error {
	err := s.tx.commit(ctx)
	if !errors.Is(err, errLostAnswer) {
		return err
	}
	s.tx.close(ctx)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), becameTimeout)
	defer cancel()
	for {
		status, asked := s.became(ctx, e)
		switch {
		case asked == nil && status == statusCommitted:
			return nil
		case asked == nil && status == statusAborted:
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", errUnknown, err)
		case <-time.After(becamePause):
		}
	}
}

// became asks once. Where rows have to tell, they are locked: that waits for the end of the
// transaction, should it not have come yet.
func (s *session) became(ctx context.Context, e ending) (string, error) {
	tx, err := s.server.begin(ctx, writing)
	if err != nil {
		return "", err
	}
	defer tx.close(ctx)
	if e.transaction != "" {
		return tx.ended(ctx, e.transaction)
	}
	if len(e.after) == 0 {
		return statusAborted, nil // it changed nothing: nothing is lost by doing it again
	}
	ids := sortedKeys(e.after)
	held, err := (&session{place: s.place, tx: tx}).read(ctx, ids, true)
	if err != nil {
		return "", err
	}
	for _, id := range ids {
		if s.print(held[id]) == e.after[id] {
			return statusCommitted, nil
		}
	}
	for _, id := range ids {
		if s.print(held[id]) == e.before[id] {
			return statusAborted, nil
		}
	}
	return "", nil
}
