package supertokens

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/stetl/stetl/core/internal/spill"
)

// partitioner splits the rows of each table into ranges of accounts, so that a
// range can be joined in memory whatever the order of the rows was. Each table
// is read once, from one end to the other, which is as fast as a source can be.
//
// A row belongs to the account of the id it carries. [redirects] are the
// exceptions: linked users and external ids.
//
// Several ranges that follow each other wait in one partition on disk, so that
// there are never more partitions than can be filled at once.
type partitioner struct {
	store    store
	layout   *Layout
	app      string
	parallel int

	ranges    ranges
	perPart   int // ranges in a partition
	users     int // of the app
	redirects *redirects

	mu     sync.Mutex
	tables map[TableName]*spill.Spill
}

// limits bound what a partitioner has in memory.
type limits struct {
	redirects int // exceptions, some 20 bytes each
	parts     int // partitions of a table, each with a piece of what a spill may take
}

var usualLimits = limits{redirects: 1 << 16, parts: 3 << 12}

// errConnectionLost is returned by a scan that may be tried again: the state
// that is read is still the same.
var errConnectionLost = errors.New("the connection was lost")

// maxAttempts bounds how often a table is read when connections keep breaking.
const maxAttempts = 3

// sampleSize is how many ids the bounds of ranges are chosen from.
const sampleSize = 1 << 17

// countedDigits is how many digits of ids are counted exactly: a sample alone gives some
// ranges twice as many accounts as others where there are 20 million, and what the largest
// range takes of memory is what all take.
const countedDigits = 4

// sampledID is the beginning of an id: all of those that cores make.
type sampledID [paddedWidth]byte

// newPartitioner reads the ids of all users: it chooses bounds that give ranges of
// about size ids whatever the ids look like, and finds the redirects. A size of 0 follows
// from how many there are.
func newPartitioner(ctx context.Context, s store, l *Layout, app string, size, parallel int) (*partitioner, error) {
	p := &partitioner{store: s, layout: l, app: app, parallel: parallel}
	err := p.begin(ctx, usualLimits, func(ids *idSample) []string {
		size := cmp.Or(size, rangeSizeOf(ids.total))
		return ids.bounds((ids.total + size - 1) / size)
	})
	if err != nil {
		return nil, errors.Join(err, p.close())
	}
	return p, nil
}

// begin partitions the two tables that say where rows of the others belong. cut
// chooses bounds from a sample of all ids.
func (p *partitioner) begin(ctx context.Context, most limits, cut func(*idSample) []string) (err error) {
	p.tables = map[TableName]*spill.Spill{}
	spine, mapping := spill.New(1), spill.New(1)
	defer func() { err = errors.Join(err, spine.Close(), mapping.Close()) }()
	ids, links, err := p.readSpine(ctx, spine)
	if err != nil {
		return err
	}
	mapped, err := p.copyTable(ctx, UserIDMapping, mapping, func([][]byte) {})
	if err != nil {
		return err
	}
	p.users = ids.total
	p.ranges = newRanges(cut(ids))
	p.perPart = (p.rangeCount() + most.parts - 1) / most.parts
	p.redirects = newRedirects(links, mapped, most.redirects)
	if err := p.partitionSpine(spine); err != nil {
		return err
	}
	return p.partitionMapping(mapping)
}

// idSample keeps some of many ids, each with the same chance, and counts all of them by
// their first digits.
type idSample struct {
	sample []sampledID
	counts [1 << (4 * countedDigits)]uint32
	total  int
	random *rand.Rand
}

func newIDSample() *idSample {
	return &idSample{random: rand.New(rand.NewPCG(1, 2))} //nolint:gosec // for balance, not for secrecy
}

func (s *idSample) add(id []byte) {
	s.total++
	s.counts[firstDigits(id, countedDigits)]++
	at := len(s.sample)
	if at < sampleSize {
		s.sample = append(s.sample, sampledID{})
	} else if at = s.random.IntN(s.total); at >= sampleSize {
		return
	}
	s.sample[at] = sampledID{}
	copy(s.sample[at][:], id)
}

// bounds splits the ids into n parts of about as many. Of those with the same first
// digits it is known how many there are, and among them the sample tells.
func (s *idSample) bounds(n int) []string {
	slices.SortFunc(s.sample, func(x, y sampledID) int { return bytes.Compare(x[:], y[:]) })
	var bounds []string
	before, from, i := 0, 0, 1 // ids and sampled ones with lesser digits, and the next bound
	for digits, count := range s.counts {
		to := from
		for to < len(s.sample) && firstDigits(s.sample[to][:], countedDigits) == uint32(digits) {
			to++
		}
		for ; i < n && i*s.total/n < before+int(count); i++ {
			at := from + (i*s.total/n-before)*(to-from)/int(count)
			if at == len(s.sample) {
				return bounds // nobody of the last ones was sampled
			}
			b := string(bytes.TrimRight(s.sample[at][:], "\x00"))
			if len(bounds) == 0 || bounds[len(bounds)-1] < b {
				bounds = append(bounds, b)
			}
		}
		before, from = before+int(count), to
	}
	return bounds
}

// readSpine gives the ids of all users and the number of those that are linked.
// The table that says so is copied, because bounds are not known before its end.
func (p *partitioner) readSpine(ctx context.Context, to *spill.Spill) (ids *idSample, links int, err error) {
	ids = newIDSample()
	if p.layout.Generation.multiApp() {
		account := p.accountColumn()
		_, err = p.copyTable(ctx, Spine, to, func(v [][]byte) {
			id := trimKey(v[0])
			ids.add(id)
			if string(accountOf(v, account)) != string(id) {
				links++
			}
		})
		return ids, links, err
	}
	for _, s := range p.layout.readers(func(t *tableSpec) bool { return t.role == roleRecipe }) {
		err := p.store.scan(ctx, s.rel, p.app, []string{s.key}, func(v [][]byte) error {
			ids.add(trimKey(v[0]))
			return nil
		})
		if err != nil {
			return ids, 0, err
		}
	}
	return ids, 0, nil
}

// copyTable appends the rows of a table to the only partition of to, if there
// is such a table, and returns their number.
func (p *partitioner) copyTable(ctx context.Context, t TableName, to *spill.Spill, look func([][]byte)) (rows int, err error) {
	for _, s := range p.layout.readers(func(other *tableSpec) bool { return other.name == t }) {
		err := p.store.scan(ctx, s.rel, p.app, s.columns, func(v [][]byte) error {
			rows++
			look(v)
			return to.Append(0, v, 0)
		})
		if err != nil {
			return 0, err
		}
	}
	return rows, to.Done()
}

// accountColumn is the place in a row of the spine of the account's id.
func (p *partitioner) accountColumn() int {
	for _, s := range p.layout.readers(func(t *tableSpec) bool { return t.role == roleSpine }) {
		return slices.Index(s.columns, "primary_or_recipe_user_id")
	}
	return 0
}

// accountOf is the account that a row of the spine names: before account
// linking, the user itself.
func accountOf(v [][]byte, column int) []byte {
	if v[column] == nil {
		column = 0
	}
	return trimKey(v[column])
}

// partitionSpine partitions the copy of the spine and fills in the redirects of linked users.
func (p *partitioner) partitionSpine(rows *spill.Spill) error {
	if !p.layout.Generation.multiApp() {
		return nil
	}
	account, to := p.accountColumn(), p.newTable(Spine)
	err := rows.Each(0, func(v [][]byte, _ uint64) error {
		id, account := trimKey(v[0]), accountOf(v, account)
		at := p.ranges.find(account)
		if string(id) != string(account) {
			if err := p.redirects.linked.add(id, at); err != nil {
				return err
			}
		}
		return p.append(to, at, v, false)
	})
	return errors.Join(err, p.redirects.linked.done(), to.Done())
}

// partitionMapping partitions the copy of the mapping and fills in the redirects of external
// ids. A mapping goes to the range of its external id as well, marked, so that a
// user there of whom it is the internal one is known to share it.
func (p *partitioner) partitionMapping(rows *spill.Spill) error {
	if p.layout.tables[UserIDMapping] == nil {
		return nil
	}
	to := p.newTable(UserIDMapping)
	const own, shared = 0, 1
	byHash := spill.New(p.redirects.parts)
	err := rows.Each(0, func(v [][]byte, _ uint64) error {
		return errors.Join(byHash.Append(p.redirects.part(v[0]), v, own), byHash.Append(p.redirects.part(v[1]), v, shared))
	})
	if err == nil {
		err = p.redirects.each(byHash, func(known *known, v [][]byte, which uint64) error {
			if which == shared {
				return p.append(to, p.rangeOf(trimKey(v[1]), known), v, true)
			}
			at := p.rangeOf(trimKey(v[0]), known)
			return errors.Join(p.redirects.externals.add(v[1], at), p.append(to, at, v, false))
		})
	}
	return errors.Join(err, p.redirects.externals.done(), to.Done(), byHash.Close())
}

func (p *partitioner) newTable(t TableName) *spill.Spill {
	p.tables[t] = spill.New(p.partCount())
	return p.tables[t]
}

func (p *partitioner) close() error {
	var errs []error
	for _, s := range p.tables {
		errs = append(errs, s.Close())
	}
	return errors.Join(append(errs, p.redirects.close())...)
}

// rangeCount is how many ranges there are.
func (p *partitioner) rangeCount() int { return len(p.ranges.bounds) + 1 }

func (p *partitioner) partCount() int { return (p.rangeCount() + p.perPart - 1) / p.perPart }

// append adds a row to a range. The mark tells that the row is, as far as is
// known, about a user of another range.
func (p *partitioner) append(to *spill.Spill, at int, v [][]byte, mark bool) error {
	tag := uint64(at%p.perPart) << 1 //nolint:gosec // not negative
	if mark {
		tag |= 1
	}
	return to.Append(at/p.perPart, v, tag)
}

// partition partitions those tables that have not been yet, several at a time.
func (p *partitioner) partition(ctx context.Context, readers []*tableReader) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(p.parallel)
	done := make([]*spill.Spill, len(readers))
	for i, s := range readers {
		if p.tables[s.name] != nil {
			continue
		}
		done[i] = spill.New(p.partCount())
		group.Go(func() error {
			for attempt := 1; ; attempt++ {
				err := p.partitionTable(ctx, s, done[i])
				if err == nil {
					err = done[i].Done()
				}
				if attempt == maxAttempts || !errors.Is(err, errConnectionLost) {
					return err
				}
				// What came so far is part of a table: begin again.
				if err := done[i].Close(); err != nil {
					return err
				}
				done[i] = spill.New(p.partCount())
			}
		})
	}
	err := group.Wait()
	for i, s := range readers {
		switch {
		case done[i] == nil:
		case err != nil:
			err = errors.Join(err, done[i].Close())
		default:
			p.tables[s.name] = done[i]
		}
	}
	return err
}

func (p *partitioner) partitionTable(ctx context.Context, s *tableReader, to *spill.Spill) (err error) {
	if all := p.redirects.all; all != nil {
		return p.store.scan(ctx, s.rel, p.app, s.columns, func(v [][]byte) error { return p.place(s, to, v, all) })
	}
	// Rows whose ids may have a redirect wait until that part of the redirects is known.
	byHash := spill.New(p.redirects.parts)
	defer func() { err = errors.Join(err, byHash.Close()) }()
	err = p.store.scan(ctx, s.rel, p.app, s.columns, func(v [][]byte) error {
		if p.redirects.mayLead(v[0], s.eitherID) {
			return byHash.Append(p.redirects.part(v[0]), v, 0)
		}
		return p.append(to, p.ranges.find(trimKey(v[0])), v, false)
	})
	if err != nil {
		return err
	}
	return p.redirects.each(byHash, func(known *known, v [][]byte, _ uint64) error { return p.place(s, to, v, known) })
}

// place appends a row to the range of its account. A row of a visible-id
// table can name a user by either id, and an id can be one user's external and
// another's internal one; then it goes to both. The mark tells the range of the
// id itself that somebody else claims the row, so that it is no orphan.
func (p *partitioner) place(s *tableReader, to *spill.Spill, v [][]byte, known *known) error {
	at := p.rangeOf(trimKey(v[0]), known)
	other, isExternal := 0, false
	if s.eitherID {
		other, isExternal = p.redirects.claim(v[0], s.pads, known)
	}
	if !isExternal || other == at { // at: one row, found under both ids
		return p.append(to, at, v, false)
	}
	if err := p.append(to, other, v, false); err != nil {
		return err
	}
	return p.append(to, at, v, true)
}

// rangeOf is the range of the account that an internal id belongs to.
func (p *partitioner) rangeOf(id []byte, known *known) int {
	if at, ok := p.redirects.account(id, known); ok {
		return at
	}
	return p.ranges.find(id)
}

// reader reads ranges, for several goroutines.
type reader struct {
	partitioner *partitioner
	tables      []*tableReader
	buffers     sync.Pool
}

// reader reads what tables say, each range once.
func (p *partitioner) reader(tables []*tableReader) *reader {
	return &reader{partitioner: p, tables: tables, buffers: sync.Pool{New: func() any { return new(spill.Buffer) }}}
}

// read fills rr with what the tables say about the accounts of a range. Rows of
// nobody go to orphan. A table is in memory only while it is read. Where ranges share
// a partition, each reads all of it: a second of time is easier to have than memory.
func (r *reader) read(number int, rr *rangeRows, orphan func(s *tableReader, v [][]byte)) error {
	part, within := number/r.partitioner.perPart, uint64(number%r.partitioner.perPart) //nolint:gosec // not negative
	buffer, _ := r.buffers.Get().(*spill.Buffer)
	defer r.buffers.Put(buffer)
	for _, s := range r.tables {
		err := r.partitioner.tables[s.name].Ordered(part, buffer, func(v [][]byte, tag uint64) error {
			if tag>>1 != within {
				return nil
			}
			claimed := tag&1 == 1
			known, err := rr.add(s, v, claimed)
			if err == nil && !known && !claimed {
				orphan(s, v)
			}
			return err
		})
		if err != nil {
			return fmt.Errorf("read %s: %w", s.rel.qualified(), err)
		}
	}
	return nil
}

// trimKey is [trimPadding] without the copy.
func trimKey(b []byte) []byte {
	for len(b) > 0 && b[len(b)-1] == ' ' {
		b = b[:len(b)-1]
	}
	return b
}
