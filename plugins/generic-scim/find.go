package scim

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/stetl/stetl/core/sdk"
	"github.com/stetl/stetl/core/sdk/httpx"
)

// finder finds accounts, by one of two ways: an index of all that are there, or a
// search for each. It believes nothing that it has not compared.
type finder struct {
	api   *transport
	facts *facts
	// filters says whether searches can be believed at all.
	filters bool
	// exact: searches tell upper from lower case, so that they miss accounts whose
	// names count as taken.
	exact bool
	total int

	mu       sync.Mutex
	indexed  bool // the index holds every account
	byKey    map[string][]string
	byName   map[string][]string
	noKeys   bool // externalId cannot be searched for
	keysWork bool // a search for an externalId has found an account
	proven   bool // a search has found an account that was known to be there
	reading  sync.Mutex
	readAt   time.Time // when the last full reading began
	patience []time.Duration
}

// hit is an account that was found.
type hit struct {
	held resource
	// mine: it has the externalId of the user, or the id that an earlier run noted.
	mine bool
	// several accounts answer to one key.
	several bool
}

// errNoLookup says that accounts can be found in no way.
var errNoLookup = errors.New("accounts can be neither searched for nor listed completely")

// openFinder probes searches, which it must not trust unseen, and chooses a way.
func openFinder(ctx context.Context, t *transport, f *facts) (*finder, error) {
	d := &finder{
		api: t, facts: f, byKey: map[string][]string{}, byName: map[string][]string{},
		patience: []time.Duration{0, 500 * time.Millisecond, 1500 * time.Millisecond, 4 * time.Second},
	}
	first, err := t.list(ctx, f.users, "startIndex=1&count=1")
	if refused(err) && status(err) != http.StatusNotFound {
		first, err = t.list(ctx, f.users, "")
	}
	listed := err == nil
	if err != nil && (!refused(err) || status(err) == http.StatusNotFound) {
		return nil, fmt.Errorf("list users: %w", err)
	}
	d.total = max(first.total, len(first.resources))
	if !listed {
		d.total = -1
	}
	if err := d.control(ctx, first.resources); err != nil {
		return nil, err
	}
	mode := t.config.Lookup
	if mode == auto {
		mode = byFilter
		if limit := t.config.IndexLimit; listed && (!d.filters || d.total <= limit || (d.exact && d.total <= 20*limit)) {
			mode = byIndex
		}
	}
	if mode == byIndex {
		if err := d.readAll(ctx, time.Now()); err != nil {
			return nil, err
		}
	}
	if !d.indexed && !d.filters {
		if mode == byFilter && t.config.Lookup == byFilter {
			return nil, fmt.Errorf("%w: a search for a name that nobody has returns accounts", errNoLookup)
		}
		return nil, errNoLookup
	}
	return d, nil
}

// control asks for a name that nobody has, and for one that somebody has.
func (d *finder) control(ctx context.Context, known []resource) error {
	p, err := d.api.search(ctx, d.facts.users, filter("userName", nobody()))
	if refused(err) || status(err) == http.StatusNotImplemented { // perhaps only in an address
		if found, postErr := d.api.postSearch(ctx, d.facts.users, filter("userName", nobody())); postErr == nil {
			p, err = found, nil
			d.api.posting.Store(true)
		}
	}
	switch {
	case refused(err), status(err) == http.StatusNotImplemented, status(err) == http.StatusForbidden:
		return nil
	case err != nil:
		return fmt.Errorf("search for users: %w", err)
	}
	d.filters = len(p.resources) == 0 && p.total <= 0
	if d.filters { // some servers ignore what they do not know
		p, err = d.api.search(ctx, d.facts.users, filter("externalId", nobody()))
		if err != nil && !refused(err) {
			return fmt.Errorf("search for users: %w", err)
		}
		d.noKeys = len(p.resources) > 0
	}
	if !d.filters || len(known) == 0 || known[0].text("userName") == "" || d.api.config.Lookup == byFilter {
		return nil
	}
	name := known[0].text("userName")
	p, err = d.api.search(ctx, d.facts.users, filter("userName", name))
	if err != nil && !refused(err) {
		return fmt.Errorf("search for users: %w", err)
	}
	d.proven = slices.ContainsFunc(p.resources, func(r resource) bool { return strings.EqualFold(r.text("userName"), name) })
	d.filters = d.proven // else every search would find nothing, whoever is there
	if upper := strings.ToUpper(name); d.proven && upper != name {
		p, err = d.api.search(ctx, d.facts.users, filter("userName", upper))
		d.exact = err == nil && len(p.resources) == 0
	}
	return nil
}

// pagesAtMost ends a listing that never ends.
const pagesAtMost = 100_000

// every visits each resource of an endpoint once. Pages advance by what has come,
// and a page with nobody new ends the list, whatever the server says about it. It
// reports whether all were seen.
func (t *transport) every(ctx context.Context, f *facts, endpoint, query string, visit func(resource)) (complete bool, err error) {
	size := t.config.PageSize
	if f.maxResults > 0 {
		size = min(size, f.maxResults)
	}
	seen := map[string]bool{}
	total, cursor := -1, ""
	byCursor := f.cursor
	// What a server does not understand is left out: attributes, the size, all of it.
	rest := []string{"&count=" + strconv.Itoa(size) + query, "&count=" + strconv.Itoa(size), ""}
	for range pagesAtMost {
		q := "startIndex=" + strconv.Itoa(len(seen)+1)
		if byCursor {
			q = "cursor=" + escape(cursor)
		}
		p, err := t.list(ctx, endpoint, q+rest[0])
		for refused(err) && len(seen) == 0 && len(rest) > 1 {
			rest = rest[1:]
			p, err = t.list(ctx, endpoint, q+rest[0])
		}
		if refused(err) && len(seen) == 0 {
			p, err = t.list(ctx, endpoint, "") // a server without pages
		}
		if refused(err) {
			return false, nil
		}
		if err != nil {
			return false, fmt.Errorf("list %s: %w", endpoint, err)
		}
		fresh := 0
		for _, r := range p.resources {
			if id := idOf(r, "", endpoint); id != "" && !seen[id] {
				r.set("id", id)
				seen[id] = true
				fresh++
				visit(r)
			}
		}
		total = max(total, p.total)
		if t.env.Pulse != nil {
			t.env.Pulse(sdk.Pulse{Reason: "listing " + endpoint, Done: len(seen), Total: max(total, 0)})
		}
		if p.next != "" {
			byCursor, cursor = true, p.next
		}
		if fresh == 0 || (byCursor && p.next == "") || (!byCursor && p.total >= 0 && len(seen) >= total) {
			return len(seen) >= total, nil
		}
	}
	return false, nil
}

// readAll reads every account.
func (d *finder) readAll(ctx context.Context, begun time.Time) error {
	byKey, byName := map[string][]string{}, map[string][]string{}
	complete, err := d.api.every(ctx, d.facts, d.facts.users, "&attributes="+escape("id,externalId,userName"), func(r resource) {
		id := r.id()
		if key := r.text("externalId"); key != "" {
			byKey[key] = append(byKey[key], id)
		}
		name := strings.ToLower(r.text("userName"))
		byName[name] = append(byName[name], id)
	})
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.byKey, d.byName, d.readAt, d.indexed = byKey, byName, begun, complete
	return nil
}

// add notes an account that a load has made.
func (d *finder) add(id, key, name string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.indexed {
		d.byKey[key] = append(d.byKey[key], id)
		name = strings.ToLower(name)
		d.byName[name] = append(d.byName[name], id)
	}
}

// find looks for the account of a user. fresh says that it may have come into
// being a moment ago, so that no memory will do.
func (d *finder) find(ctx context.Context, want *desired, u *sdk.User, fresh bool) (hit, error) {
	key := want.body.text("externalId")
	names := spellings(want.body.text("userName"), u.Username)
	if fresh && !d.filters {
		if err := d.refresh(ctx); err != nil {
			return hit{}, err
		}
	}
	d.mu.Lock()
	indexed, noKeys := d.indexed, d.noKeys
	d.mu.Unlock()
	if indexed && (!fresh || !d.filters) {
		return d.look(ctx, key, names)
	}
	if !noKeys {
		held, err := d.search(ctx, "externalId", key, func(r resource) bool { return r.text("externalId") == key })
		if err != nil {
			return hit{}, err
		}
		if len(held) > 0 {
			return hit{held: held[0], mine: true, several: len(held) > 1}, nil
		}
	}
	for _, name := range names {
		held, err := d.search(ctx, "userName", name, func(r resource) bool { return sameName(r.text("userName"), names) })
		if err != nil {
			return hit{}, err
		}
		if len(held) > 0 {
			return hit{held: held[0], mine: held[0].text("externalId") == key, several: len(held) > 1}, nil
		}
	}
	return hit{}, nil
}

// marks reports whether accounts of loads are found by their externalId, so that there is
// none where none is found. Some servers take such a search and never find anybody.
func (d *finder) marks(ctx context.Context, l *learned) (bool, error) {
	d.mu.Lock()
	indexed, noKeys, marks, known := d.indexed, d.noKeys, len(d.byKey) > 0 || len(d.byName) == 0, d.keysWork
	d.mu.Unlock()
	switch {
	case l.loses("externalid"):
		return false, nil
	case indexed:
		return l.known() || marks, nil
	case known || noKeys:
		return known, nil
	}
	some, err := d.api.list(ctx, d.facts.users, "startIndex=1&count=20")
	if err != nil && !refused(err) {
		return false, err
	}
	for _, r := range some.resources {
		key := r.text("externalId")
		if key == "" {
			continue
		}
		held, err := d.search(ctx, "externalId", key, func(r resource) bool { return r.text("externalId") == key })
		if err != nil {
			return false, err
		}
		d.mu.Lock()
		d.keysWork, d.noKeys = len(held) > 0, len(held) == 0
		d.mu.Unlock()
		return len(held) > 0, nil
	}
	return false, nil
}

// spellings are the forms of a user name to ask for: some servers tell upper from
// lower case when they search, and not when they compare.
func spellings(names ...string) (out []string) {
	for _, n := range names {
		if n != "" && !slices.Contains(out, n) {
			out = append(out, n)
		}
	}
	return out
}

func sameName(name string, names []string) bool {
	return slices.ContainsFunc(names, func(n string) bool { return strings.EqualFold(n, name) })
}

// look reads what the index points to.
func (d *finder) look(ctx context.Context, key string, names []string) (hit, error) {
	d.mu.Lock()
	mine := slices.Clone(d.byKey[key])
	var others []string
	for _, n := range names {
		others = append(others, d.byName[strings.ToLower(n)]...)
	}
	d.mu.Unlock()
	slices.Sort(others)
	others = slices.Compact(others)
	for _, ids := range [][]string{mine, others} {
		for _, id := range ids {
			r, err := d.api.one(ctx, d.facts.users, id)
			if err != nil {
				return hit{}, err
			}
			if r == nil {
				continue // gone since
			}
			isMine := r.text("externalId") == key
			if isMine || sameName(r.text("userName"), names) {
				return hit{held: r, mine: isMine, several: len(ids) > 1}, nil
			}
		}
	}
	return hit{}, nil
}

// search asks for one value and keeps the accounts that really have it, read in
// full: a list may leave attributes out.
func (d *finder) search(ctx context.Context, attribute, value string, has func(resource) bool) (out []resource, err error) {
	p, err := d.api.search(ctx, d.facts.users, filter(attribute, value))
	if refused(err) || status(err) == http.StatusNotImplemented {
		if attribute == "externalId" {
			d.mu.Lock()
			d.noKeys = true
			d.mu.Unlock()
		}
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("search for a user by %s: %w", attribute, err)
	}
	for i, r := range p.resources {
		if i >= 20 {
			return out, fmt.Errorf("search for a user by %s: %w: the server returns accounts that were not asked for", attribute, errNoLookup)
		}
		if r.get(attribute) != nil && !has(r) {
			continue
		}
		id := idOf(r, "", d.facts.users)
		if id == "" {
			continue
		}
		full, err := d.api.one(ctx, d.facts.users, id)
		if err != nil {
			return nil, err
		}
		if full != nil && has(full) {
			out = append(out, full)
		}
	}
	return out, nil
}

// refresh reads all accounts again, once for everybody who asks at the same time.
func (d *finder) refresh(ctx context.Context) error {
	asked := time.Now()
	d.reading.Lock()
	defer d.reading.Unlock()
	d.mu.Lock()
	done := d.readAt.After(asked)
	d.mu.Unlock()
	if done {
		return nil
	}
	if err := d.readAll(ctx, time.Now()); err != nil {
		return err
	}
	if !d.indexed {
		return errNoLookup
	}
	return nil
}

// await looks for an account that a request may have made, with patience: what was
// written is not always found at once.
func (d *finder) await(ctx context.Context, want *desired, u *sdk.User) (h hit, err error) {
	for _, pause := range d.patience {
		if err := httpx.Sleep(ctx, pause); err != nil {
			return h, err
		}
		if h, err = d.find(ctx, want, u, true); err != nil || h.held != nil {
			return h, err
		}
	}
	return h, nil
}

// nobody is a value that no account has.
func nobody() string { return "stetl-probe-" + strings.ToLower(rand.Text()) }

// prove is the control after the first new account, without which an empty server
// tells nothing: who has just been made must be found by externalId, and nobody else,
// else that is not searched for any more; and by name, else searches are worth nothing.
func (d *finder) prove(ctx context.Context, held resource) error {
	d.mu.Lock()
	done := d.proven || !d.filters
	d.mu.Unlock()
	if done {
		return nil
	}
	found := func(attribute, value string) (bool, error) {
		p, err := d.api.search(ctx, d.facts.users, filter(attribute, nobody()))
		if refused(err) || status(err) == http.StatusNotImplemented || len(p.resources) > 0 {
			return false, nil
		}
		if err != nil {
			return false, fmt.Errorf("search for a user by %s: %w", attribute, err)
		}
		for _, pause := range d.patience {
			if err := httpx.Sleep(ctx, pause); err != nil {
				return false, err
			}
			p, err := d.api.search(ctx, d.facts.users, filter(attribute, value))
			if refused(err) || status(err) == http.StatusNotImplemented {
				return false, nil
			}
			if err != nil {
				return false, fmt.Errorf("search for a user by %s: %w", attribute, err)
			}
			if slices.ContainsFunc(p.resources, func(r resource) bool { return idOf(r, "", d.facts.users) == held.id() }) {
				return true, nil
			}
		}
		return false, nil
	}
	key := false
	if k := held.text("externalId"); k != "" {
		var err error
		if key, err = found("externalId", k); err != nil {
			return err
		}
	}
	name, err := found("userName", held.text("userName"))
	if err != nil {
		return err
	}
	d.mu.Lock()
	d.noKeys, d.proven, d.filters = !key, true, name || key
	usable := d.filters || d.indexed
	d.mu.Unlock()
	if usable {
		return nil
	}
	return d.refresh(ctx)
}
