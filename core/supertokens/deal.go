package supertokens

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/maphash"
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
// A row belongs to the account of the id it carries. Routes are the exceptions:
// linked users and external ids. When there are too many of them for memory,
// they and the rows are first split by a hash of the id, and joined hash by hash.
type dealer struct {
	store    store
	layout   *Layout
	app      string
	parallel int
	// bounds separate the ranges, in the order of bytes. heads are their first
	// bytes as numbers, which are quicker to compare.
	bounds []string
	heads  []uint64
	// users is how many there are in the app.
	users int

	mu     sync.Mutex
	tables map[TableName]*spill.Spill
	seed   maphash.Seed
	routes routes
	hashed *spill.Spill // what routes hold when they are too many, by hash
}

// routes lead from the hash of an id to the range of its account: 64 bits under
// a seed that nobody knows are enough to tell ids apart, and take a tenth of the
// memory. External ids are hashed exactly as they are mapped, blanks at the end
// included.
type routes struct{ linked, externals route }

// route is a map behind a filter that says no to most ids at a glance.
type route struct {
	to     map[uint64]uint32
	filter []uint64 // a bit for some bits of each hash
}

// filterSize is the number of bits, as a power of two: few enough for the
// processor's cache, and sixteen for each of 65 536 routes.
const filterSize = 20

func newRoute(n int) route {
	return route{to: make(map[uint64]uint32, n), filter: make([]uint64, 1<<(filterSize-6))}
}

func (r *route) add(hash uint64, at int) {
	bit := hash >> (64 - filterSize)
	r.filter[bit/64] |= 1 << (bit % 64)
	r.to[hash] = uint32(at) //nolint:gosec // there are not as many ranges
}

func (r *route) find(hash uint64) (at int, ok bool) {
	if bit := hash >> (64 - filterSize); r.filter == nil || r.filter[bit/64]&(1<<(bit%64)) == 0 {
		return 0, false
	}
	n, ok := r.to[hash]
	return int(n), ok
}

// claim returns the range of the account whose external id a stored id is. It
// is looked up as it is first: an external id may end in blanks, while columns
// of databases upgraded from core 3.4 pad it with them.
func (d *dealer) claim(stored []byte, r *routes) (at int, ok bool) {
	if len(r.externals.to) == 0 {
		return 0, false
	}
	at, ok = r.externals.find(d.hash(stored))
	if trimmed := trimKey(stored); !ok && len(trimmed) < len(stored) {
		at, ok = r.externals.find(d.hash(trimmed))
	}
	return at, ok
}

// home is the range of the account that an internal id belongs to.
func (d *dealer) home(id []byte, r *routes) int {
	if len(r.linked.to) > 0 {
		if at, ok := r.linked.find(d.hash(id)); ok {
			return at
		}
	}
	return d.rangeOf(id)
}

// maxRoutes is how many exceptions may be in memory at once, some 30 bytes each.
const maxRoutes = 1_000_000

// errConnectionLost is returned by a scan that may be tried again: the state
// that is read is still the same.
var errConnectionLost = errors.New("the connection was lost")

// maxAttempts bounds how often a table is read when connections keep breaking.
const maxAttempts = 3

// sampleSize is how many ids the bounds of ranges are chosen from.
const sampleSize = 1 << 16

// newDealer reads the ids of all users: it chooses bounds that give ranges of
// about size ids whatever the ids look like, and finds the routes.
func newDealer(ctx context.Context, s store, l *Layout, app string, size, parallel int) (*dealer, error) {
	d := &dealer{store: s, layout: l, app: app, parallel: parallel, tables: map[TableName]*spill.Spill{}, seed: maphash.MakeSeed()}
	var sample []string
	total := 0
	random := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // for balance, not for secrecy
	links, err := d.links(ctx, func(id []byte) {
		total++
		switch at := random.IntN(total); {
		case len(sample) < sampleSize:
			sample = append(sample, string(id))
		case at < sampleSize:
			sample[at] = string(id)
		}
	})
	if err != nil {
		return nil, err
	}
	d.users = total
	d.cut(boundsOf(sample, (total+size-1)/size))
	return d, d.route(ctx, links)
}

// link is a user whose account has another id.
type link struct {
	hash    uint64
	account string
}

// links gives every user's id and returns those that are linked, at most one
// more than there may be.
func (d *dealer) links(ctx context.Context, each func(id []byte)) (links []link, err error) {
	err = d.eachUser(ctx, func(id, account []byte) error {
		each(id)
		if len(links) <= maxRoutes && string(id) != string(account) {
			links = append(links, link{d.hash(id), string(account)})
		}
		return nil
	})
	return links, err
}

// route finds the routes for the bounds that are set.
func (d *dealer) route(ctx context.Context, links []link) error {
	d.routes = routes{linked: newRoute(len(links)), externals: newRoute(0)}
	for _, l := range links {
		d.routes.linked.add(l.hash, d.rangeOf([]byte(l.account)))
	}
	count := len(links)
	err := d.eachMapping(ctx, func(external, internal []byte) error {
		if count++; count <= maxRoutes {
			d.routes.externals.add(d.hash(external), d.home(internal, &d.routes))
		}
		return nil
	})
	if err == nil && count > maxRoutes {
		err = d.hashRoutes(ctx, count/maxRoutes+1)
	}
	return err
}

// boundsOf splits a sample of ids into n parts.
func boundsOf(sample []string, n int) []string {
	slices.Sort(sample)
	sample = slices.Compact(sample)
	var bounds []string
	for i := 1; i < n; i++ {
		if b := sample[i*len(sample)/n]; len(bounds) == 0 || bounds[len(bounds)-1] < b {
			bounds = append(bounds, b)
		}
	}
	return bounds
}

// eachUser gives the id of every login and the account it belongs to.
func (d *dealer) eachUser(ctx context.Context, fn func(id, account []byte) error) error {
	if !d.layout.Generation.multiApp() {
		for i := range schema {
			if r := d.layout.tables[schema[i].name]; r != nil && schema[i].role == roleRecipe {
				err := d.store.scan(ctx, r, d.app, []string{"user_id"}, func(v [][]byte) error { return fn(trimKey(v[0]), trimKey(v[0])) })
				if err != nil {
					return err
				}
			}
		}
		return nil
	}
	return d.store.scan(ctx, d.layout.tables[Spine], d.app, []string{"user_id", "primary_or_recipe_user_id"}, func(v [][]byte) error {
		if v[1] == nil { // before account linking
			return fn(trimKey(v[0]), trimKey(v[0]))
		}
		return fn(trimKey(v[0]), trimKey(v[1]))
	})
}

func (d *dealer) eachMapping(ctx context.Context, fn func(external, internal []byte) error) error {
	r := d.layout.tables[UserIDMapping]
	if r == nil {
		return nil
	}
	return d.store.scan(ctx, r, d.app, []string{"external_user_id", "supertokens_user_id"}, func(v [][]byte) error {
		return fn(v[0], trimKey(v[1]))
	})
}

var external = []byte("e")

// hashRoutes fills hashed with every route as (id, range), and a third field
// for external ids.
func (d *dealer) hashRoutes(ctx context.Context, parts int) (err error) {
	d.routes = routes{}
	d.hashed = spill.New(parts)
	add := func(id []byte, at int, kind ...[]byte) error {
		number := binary.BigEndian.AppendUint32(nil, uint32(at)) //nolint:gosec // there are not as many ranges
		return d.hashed.Append(d.part(trimKey(id)), append([][]byte{id, number}, kind...), false)
	}
	err = d.eachUser(ctx, func(id, account []byte) error {
		if string(id) == string(account) {
			return nil
		}
		return add(id, d.rangeOf(account))
	})
	if err != nil {
		return err
	}
	byInternal := spill.New(parts)
	defer func() { err = errors.Join(err, byInternal.Close()) }()
	err = d.eachMapping(ctx, func(ext, internal []byte) error {
		return byInternal.Append(d.part(internal), [][]byte{ext, internal}, false)
	})
	if err != nil {
		return err
	}
	for part := range parts {
		r, err := d.loadRoutes(part)
		if err != nil {
			return err
		}
		err = byInternal.Each(part, func(v [][]byte, _ bool) error { return add(v[0], d.home(v[1], &r), external) })
		if err != nil {
			return err
		}
	}
	return nil
}

func (d *dealer) loadRoutes(part int) (routes, error) {
	r := routes{linked: newRoute(0), externals: newRoute(0)}
	err := d.hashed.Each(part, func(v [][]byte, _ bool) error {
		at := int(binary.BigEndian.Uint32(v[1]))
		if len(v) == 3 {
			r.externals.add(d.hash(v[0]), at)
		} else {
			r.linked.add(d.hash(v[0]), at)
		}
		return nil
	})
	return r, err
}

func (d *dealer) hash(id []byte) uint64 { return maphash.Bytes(d.seed, id) }

// part is the part of hashed that an id without its padding belongs to.
func (d *dealer) part(id []byte) int {
	return int(d.hash(id) % uint64(d.hashed.Parts())) //nolint:gosec // less than the number of parts
}

func (d *dealer) close() error {
	var errs []error
	for _, s := range d.tables {
		errs = append(errs, s.Close())
	}
	return errors.Join(append(errs, d.hashed.Close())...)
}

// rangeCount is how many ranges there are.
func (d *dealer) rangeCount() int { return len(d.bounds) + 1 }

// cut sets the bounds.
func (d *dealer) cut(bounds []string) {
	d.bounds, d.heads = bounds, make([]uint64, len(bounds))
	for i, b := range bounds {
		d.heads[i] = headOf([]byte(b))
	}
}

// headOf is the first bytes of id as a number that orders as they do.
func headOf(id []byte) uint64 {
	if len(id) >= 8 {
		return binary.BigEndian.Uint64(id)
	}
	var b [8]byte
	copy(b[:], id)
	return binary.BigEndian.Uint64(b[:])
}

// rangeOf is the number of the range that holds id.
func (d *dealer) rangeOf(id []byte) int {
	head := headOf(id)
	low, high := 0, len(d.bounds)
	for low < high {
		middle := (low + high) / 2
		if h := d.heads[middle]; h > head || h == head && d.bounds[middle] > string(id) {
			high = middle
		} else {
			low = middle + 1
		}
	}
	return low
}

// deal deals those tables that have not been dealt yet, several at a time.
func (d *dealer) deal(ctx context.Context, specs []*tableReader) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(d.parallel)
	dealt := make([]*spill.Spill, len(specs))
	for i, s := range specs {
		if d.tables[s.name] != nil {
			continue
		}
		dealt[i] = spill.New(d.rangeCount())
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
				dealt[i] = spill.New(d.rangeCount())
			}
		})
	}
	err := group.Wait()
	for i, s := range specs {
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
	rel, columns := s.rel, s.columns
	if d.hashed == nil {
		return d.store.scan(ctx, rel, d.app, columns, func(v [][]byte) error { return d.toRange(s, to, v, &d.routes) })
	}
	byHash := spill.New(d.hashed.Parts())
	defer func() { err = errors.Join(err, byHash.Close()) }()
	err = d.store.scan(ctx, rel, d.app, columns, func(v [][]byte) error {
		return byHash.Append(d.part(trimKey(v[0])), v, false)
	})
	if err != nil {
		return err
	}
	for part := range byHash.Parts() {
		r, err := d.loadRoutes(part)
		if err != nil {
			return err
		}
		if err := byHash.Each(part, func(v [][]byte, _ bool) error { return d.toRange(s, to, v, &r) }); err != nil {
			return err
		}
	}
	return nil
}

// toRange appends a row to the range of its account. A row of a visible-id
// table can name a user by either id, and an id can be one user's external and
// another's internal one; then it goes to both. The mark tells the range of the
// id itself that somebody else claims the row, so that it is no orphan.
//
// A mapping goes to the range of its external id as well, marked, so that a user
// there of whom it is the internal one is known to share it.
func (d *dealer) toRange(s *tableReader, to *spill.Spill, v [][]byte, r *routes) error {
	id := trimKey(v[0])
	at := d.home(id, r)
	if s.role == roleMapping {
		if err := to.Append(d.home(trimKey(v[1]), r), v, true); err != nil {
			return err
		}
	}
	other, isExternal := 0, false
	if s.eitherID {
		other, isExternal = d.claim(v[0], r)
	}
	if !isExternal || other == at { // at: one row, found under both ids
		return to.Append(at, v, false)
	}
	if err := to.Append(other, v, false); err != nil {
		return err
	}
	return to.Append(at, v, true)
}

// read fills rr with what tables say about the accounts of a range. Rows of
// nobody go to orphan.
func (d *dealer) read(number int, tables []*tableReader, rr *rangeRows, orphan func(s *tableReader, v [][]byte)) error {
	for _, s := range tables {
		err := d.tables[s.name].Each(number, func(v [][]byte, claimed bool) error {
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
