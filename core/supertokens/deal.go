package supertokens

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/stetl/stetl/core/internal/spill"
)

// dealer deals the rows of each table out to ranges of accounts, so that a
// range can be joined in memory whatever the order of the rows was. Each table
// is read once, from one end to the other, which is as fast as a source can be.
//
// A row belongs to the account of the id it carries. [routes] are the
// exceptions: linked users and external ids.
//
// Several ranges that follow each other wait in one partition on disk, so that
// there are never more partitions than can be filled at once.
type dealer struct {
	store    store
	layout   *Layout
	app      string
	parallel int

	ranges  ranges
	perPart int // ranges in a partition
	users   int // of the app
	routes  *routes

	mu     sync.Mutex
	tables map[TableName]*spill.Spill
}

// limits bound what a dealer has in memory.
type limits struct {
	routes int // exceptions, some 20 bytes each
	parts  int // partitions of a table, each with a piece of what a spill may take
}

var usualLimits = limits{routes: 1 << 18, parts: 3 << 12}

// errConnectionLost is returned by a scan that may be tried again: the state
// that is read is still the same.
var errConnectionLost = errors.New("the connection was lost")

// maxAttempts bounds how often a table is read when connections keep breaking.
const maxAttempts = 3

// sampleSize is how many ids the bounds of ranges are chosen from. Of 20 million
// accounts it is 26 for each range, so that few have more than half again as many
// accounts as others.
const sampleSize = 1 << 18

// sampledID is the beginning of an id: all of those that cores make.
type sampledID [paddedWidth]byte

// newDealer reads the ids of all users: it chooses bounds that give ranges of
// about size ids whatever the ids look like, and finds the routes.
func newDealer(ctx context.Context, s store, l *Layout, app string, size, parallel int) (*dealer, error) {
	d := &dealer{store: s, layout: l, app: app, parallel: parallel}
	err := d.begin(ctx, usualLimits, func(ids []sampledID, total int) []string { return boundsOf(ids, (total+size-1)/size) })
	if err != nil {
		return nil, errors.Join(err, d.close())
	}
	return d, nil
}

// begin deals the two tables that say where rows of the others belong. cut
// chooses bounds from a sample of all ids.
func (d *dealer) begin(ctx context.Context, most limits, cut func(sample []sampledID, total int) []string) (err error) {
	d.tables = map[TableName]*spill.Spill{}
	spine, mapping := spill.New(1), spill.New(1)
	defer func() { err = errors.Join(err, spine.Close(), mapping.Close()) }()
	ids, links, err := d.readSpine(ctx, spine)
	if err != nil {
		return err
	}
	mapped, err := d.copyTable(ctx, UserIDMapping, mapping, func([][]byte) {})
	if err != nil {
		return err
	}
	d.users = ids.total
	d.ranges = newRanges(cut(ids.sample, ids.total))
	d.perPart = (d.rangeCount() + most.parts - 1) / most.parts
	d.routes = newRoutes(links, mapped, most.routes)
	if err := d.dealSpine(spine); err != nil {
		return err
	}
	return d.dealMapping(mapping)
}

// idSample keeps some of many ids, each with the same chance.
type idSample struct {
	sample []sampledID
	total  int
	random *rand.Rand
}

func (s *idSample) add(id []byte) {
	s.total++
	at := len(s.sample)
	if at < sampleSize {
		s.sample = append(s.sample, sampledID{})
	} else if at = s.random.IntN(s.total); at >= sampleSize {
		return
	}
	s.sample[at] = sampledID{}
	copy(s.sample[at][:], id)
}

// boundsOf splits a sample of ids into n parts.
func boundsOf(sample []sampledID, n int) []string {
	slices.SortFunc(sample, func(x, y sampledID) int { return bytes.Compare(x[:], y[:]) })
	sample = slices.Compact(sample)
	var bounds []string
	for i := 1; i < n; i++ {
		b := string(bytes.TrimRight(sample[i*len(sample)/n][:], "\x00"))
		if len(bounds) == 0 || bounds[len(bounds)-1] < b {
			bounds = append(bounds, b)
		}
	}
	return bounds
}

// readSpine gives the ids of all users and the number of those that are linked.
// The table that says so is copied, because bounds are not known before its end.
func (d *dealer) readSpine(ctx context.Context, to *spill.Spill) (ids idSample, links int, err error) {
	ids.random = rand.New(rand.NewPCG(1, 2)) //nolint:gosec // for balance, not for secrecy
	if d.layout.Generation.multiApp() {
		account := d.accountColumn()
		_, err = d.copyTable(ctx, Spine, to, func(v [][]byte) {
			id := trimKey(v[0])
			ids.add(id)
			if string(accountOf(v, account)) != string(id) {
				links++
			}
		})
		return ids, links, err
	}
	for _, s := range d.layout.readers(func(t *tableSpec) bool { return t.role == roleRecipe }) {
		err := d.store.scan(ctx, s.rel, d.app, []string{s.key}, func(v [][]byte) error {
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
func (d *dealer) copyTable(ctx context.Context, t TableName, to *spill.Spill, look func([][]byte)) (rows int, err error) {
	for _, s := range d.layout.readers(func(other *tableSpec) bool { return other.name == t }) {
		err := d.store.scan(ctx, s.rel, d.app, s.columns, func(v [][]byte) error {
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
func (d *dealer) accountColumn() int {
	for _, s := range d.layout.readers(func(t *tableSpec) bool { return t.role == roleSpine }) {
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

// dealSpine deals the copy of the spine and fills in the routes of linked users.
func (d *dealer) dealSpine(rows *spill.Spill) error {
	if !d.layout.Generation.multiApp() {
		return nil
	}
	account, to := d.accountColumn(), d.newTable(Spine)
	err := rows.Each(0, func(v [][]byte, _ uint64) error {
		id, account := trimKey(v[0]), accountOf(v, account)
		at := d.ranges.find(account)
		if string(id) != string(account) {
			if err := d.routes.linked.add(id, at); err != nil {
				return err
			}
		}
		return d.append(to, at, v, false)
	})
	return errors.Join(err, d.routes.linked.done(), to.Done())
}

// dealMapping deals the copy of the mapping and fills in the routes of external
// ids. A mapping goes to the range of its external id as well, marked, so that a
// user there of whom it is the internal one is known to share it.
func (d *dealer) dealMapping(rows *spill.Spill) error {
	if d.layout.tables[UserIDMapping] == nil {
		return nil
	}
	to := d.newTable(UserIDMapping)
	const own, shared = 0, 1
	byHash := spill.New(d.routes.parts)
	err := rows.Each(0, func(v [][]byte, _ uint64) error {
		return errors.Join(byHash.Append(d.routes.part(v[0]), v, own), byHash.Append(d.routes.part(v[1]), v, shared))
	})
	if err == nil {
		err = d.routes.each(byHash, func(known *known, v [][]byte, which uint64) error {
			if which == shared {
				return d.append(to, d.home(trimKey(v[1]), known), v, true)
			}
			at := d.home(trimKey(v[0]), known)
			return errors.Join(d.routes.externals.add(v[1], at), d.append(to, at, v, false))
		})
	}
	return errors.Join(err, d.routes.externals.done(), to.Done(), byHash.Close())
}

func (d *dealer) newTable(t TableName) *spill.Spill {
	d.tables[t] = spill.New(d.partCount())
	return d.tables[t]
}

func (d *dealer) close() error {
	var errs []error
	for _, s := range d.tables {
		errs = append(errs, s.Close())
	}
	return errors.Join(append(errs, d.routes.close())...)
}

// rangeCount is how many ranges there are.
func (d *dealer) rangeCount() int { return len(d.ranges.bounds) + 1 }

func (d *dealer) partCount() int { return (d.rangeCount() + d.perPart - 1) / d.perPart }

// append adds a row to a range. The mark tells that the row is, as far as is
// known, about a user of another range.
func (d *dealer) append(to *spill.Spill, at int, v [][]byte, mark bool) error {
	tag := uint64(at%d.perPart) << 1 //nolint:gosec // not negative
	if mark {
		tag |= 1
	}
	return to.Append(at/d.perPart, v, tag)
}

// deal deals those tables that have not been dealt yet, several at a time.
func (d *dealer) deal(ctx context.Context, readers []*tableReader) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(d.parallel)
	dealt := make([]*spill.Spill, len(readers))
	for i, s := range readers {
		if d.tables[s.name] != nil {
			continue
		}
		dealt[i] = spill.New(d.partCount())
		group.Go(func() error {
			for attempt := 1; ; attempt++ {
				err := d.dealTable(ctx, s, dealt[i])
				if err == nil {
					err = dealt[i].Done()
				}
				if attempt == maxAttempts || !errors.Is(err, errConnectionLost) {
					return err
				}
				// What came so far is part of a table: begin again.
				if err := dealt[i].Close(); err != nil {
					return err
				}
				dealt[i] = spill.New(d.partCount())
			}
		})
	}
	err := group.Wait()
	for i, s := range readers {
		switch {
		case dealt[i] == nil:
		case err != nil:
			err = errors.Join(err, dealt[i].Close())
		default:
			d.tables[s.name] = dealt[i]
		}
	}
	return err
}

func (d *dealer) dealTable(ctx context.Context, s *tableReader, to *spill.Spill) (err error) {
	if all := d.routes.all; all != nil {
		return d.store.scan(ctx, s.rel, d.app, s.columns, func(v [][]byte) error { return d.place(s, to, v, all) })
	}
	// Rows whose ids may have a route wait until that part of the routes is known.
	byHash := spill.New(d.routes.parts)
	defer func() { err = errors.Join(err, byHash.Close()) }()
	err = d.store.scan(ctx, s.rel, d.app, s.columns, func(v [][]byte) error {
		if d.routes.mayLead(v[0], s.eitherID) {
			return byHash.Append(d.routes.part(v[0]), v, 0)
		}
		return d.append(to, d.ranges.find(trimKey(v[0])), v, false)
	})
	if err != nil {
		return err
	}
	return d.routes.each(byHash, func(known *known, v [][]byte, _ uint64) error { return d.place(s, to, v, known) })
}

// place appends a row to the range of its account. A row of a visible-id
// table can name a user by either id, and an id can be one user's external and
// another's internal one; then it goes to both. The mark tells the range of the
// id itself that somebody else claims the row, so that it is no orphan.
func (d *dealer) place(s *tableReader, to *spill.Spill, v [][]byte, known *known) error {
	at := d.home(trimKey(v[0]), known)
	other, isExternal := 0, false
	if s.eitherID {
		other, isExternal = d.routes.claim(v[0], s.pads, known)
	}
	if !isExternal || other == at { // at: one row, found under both ids
		return d.append(to, at, v, false)
	}
	if err := d.append(to, other, v, false); err != nil {
		return err
	}
	return d.append(to, at, v, true)
}

// home is the range of the account that an internal id belongs to.
func (d *dealer) home(id []byte, known *known) int {
	if at, ok := d.routes.account(id, known); ok {
		return at
	}
	return d.ranges.find(id)
}

// reader reads ranges, for several goroutines.
type reader struct {
	dealer  *dealer
	tables  []*tableReader
	buffers sync.Pool
}

// reader reads what tables say, each range once.
func (d *dealer) reader(tables []*tableReader) *reader {
	return &reader{dealer: d, tables: tables, buffers: sync.Pool{New: func() any { return new(spill.Buffer) }}}
}

// read fills rr with what the tables say about the accounts of a range. Rows of
// nobody go to orphan. A table is in memory only while it is read. Where ranges share
// a partition, each reads all of it: a second of time is easier to have than memory.
func (r *reader) read(number int, rr *rangeRows, orphan func(s *tableReader, v [][]byte)) error {
	part, within := number/r.dealer.perPart, uint64(number%r.dealer.perPart) //nolint:gosec // not negative
	buffer, _ := r.buffers.Get().(*spill.Buffer)
	defer r.buffers.Put(buffer)
	for _, s := range r.tables {
		err := r.dealer.tables[s.name].Ordered(part, buffer, func(v [][]byte, tag uint64) error {
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
