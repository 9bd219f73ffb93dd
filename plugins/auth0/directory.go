package auth0

import (
	"bufio"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/stetl/stetl/core/sdk"
	"github.com/stetl/stetl/core/sdk/httpx"
	"github.com/stetl/stetl/plugins/auth0/internal/tenant"
)

// lookups is how many run side by side.
const lookups = 4

// holders are the accounts in the way of one user, nil where there is none.
type holders struct{ id, email *account }

// recognised are holders in which the account that a load has made for r counts as its
// own, even when the tenant has changed the id.
func (h holders) recognised(r *record) holders {
	if h.id == nil && h.email != nil && h.email.origin().ID == r.visible {
		return holders{id: h.email}
	}
	return h
}

// directory knows which accounts are in the tenant. A few are looked up; when they
// become many, all users of the tenant are exported once, and only what this process
// has written since is looked up. It is safe for concurrent use.
type directory struct {
	t *live

	mu    sync.Mutex
	asked int
	snap  *snapshot
	never bool            // the tenant exports nothing for this application
	dirty map[string]bool // ids written since the snapshot
}

// snapshot is an export on disk, without a name: the file is gone with the process.
type snapshot struct {
	file    *os.File
	seed    maphash.Seed
	byID    map[uint64]span
	byEmail map[uint64][]span
}

type span struct {
	at   int64
	size int
}

// touched notes that this process has written an account.
func (d *directory) touched(id string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.snap != nil {
		d.dirty[id] = true
	}
}

func (d *directory) close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.drop()
}

func (d *directory) drop() error {
	if d.snap == nil {
		return nil
	}
	s := d.snap
	d.snap = nil
	err := s.file.Close()
	if removeErr := os.Remove(s.file.Name()); removeErr != nil && !errors.Is(removeErr, os.ErrNotExist) {
		err = errors.Join(err, removeErr)
	}
	return err
}

// find returns, for each user, the accounts in its way. known are the ids under
// which they were loaded before, where they were.
func (d *directory) find(ctx context.Context, users []*record, known []string) ([]holders, error) {
	out := make([]holders, len(users))
	ask, err := d.recall(ctx, users, known, out)
	if err != nil {
		return nil, err
	}
	g, asking := errgroup.WithContext(ctx)
	g.SetLimit(lookups)
	for _, i := range ask {
		g.Go(func() (err error) {
			out[i], err = d.t.lookup(asking, users[i], known[i])
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	return out, d.t.completeAll(ctx, users, out)
}

// recall answers from the snapshot and returns who has to be looked up.
func (d *directory) recall(ctx context.Context, users []*record, known []string, out []holders) (ask []int, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for round := 0; ; round++ {
		ask = nil
		for i, r := range users {
			id := d.t.idOf(r)
			if known[i] != "" {
				id = known[i]
			}
			if d.snap == nil || d.dirty[id] {
				ask = append(ask, i)
				continue
			}
			if out[i], err = d.snap.find(id, r.Email, d.t.connectionOf(r)); err != nil {
				return nil, err
			}
			out[i] = out[i].recognised(r)
			if out[i].id == nil && known[i] != "" {
				ask = append(ask, i) // the snapshot may be older
			}
		}
		if d.asked+len(ask) <= d.t.config.LookupsBeforeExport || round > 0 || d.never {
			d.asked += len(ask)
			return ask, nil
		}
		if err := d.drop(); err != nil {
			return nil, err
		}
		switch d.snap, err = d.t.export(ctx); {
		case tenant.Refused(err) || tenant.Status(err) == http.StatusForbidden:
			d.t.env.Log.Warn("users cannot be exported and are looked up one by one", "error", err)
			d.snap, d.never = nil, true
		case err != nil:
			return nil, err
		}
		d.asked, d.dirty = 0, map[string]bool{}
	}
}

func (s *snapshot) hash(text string) uint64 { return maphash.String(s.seed, text) }

func (s *snapshot) read(at span) (*account, error) {
	raw := make([]byte, at.size)
	if _, err := s.file.ReadAt(raw, at.at); err != nil {
		return nil, fmt.Errorf("read the exported users: %w", err)
	}
	var a account
	if err := json.Unmarshal(raw, &a); err != nil {
		return nil, fmt.Errorf("read an exported user: %w", err)
	}
	return &a, nil
}

func (s *snapshot) find(id, email, connection string) (h holders, err error) {
	if at, ok := s.byID[s.hash(id)]; ok {
		a, err := s.read(at)
		if err != nil {
			return h, err
		}
		if a.UserID == id {
			return holders{id: a}, nil
		}
	}
	if email == "" {
		return h, nil
	}
	for _, at := range s.byEmail[s.hash(email)] {
		a, err := s.read(at)
		if err != nil {
			return h, err
		}
		if strings.EqualFold(a.Email, email) && a.in(connection) {
			h.email = a
		}
	}
	return h, nil
}

// lookup asks the tenant about one user.
func (t *live) lookup(ctx context.Context, r *record, known string) (h holders, err error) {
	id := t.idOf(r)
	if known != "" {
		id = known
	}
	if h.id, err = t.read(ctx, id); err != nil || h.id != nil || r.Email == "" {
		return h, err
	}
	var list []*account
	if err := t.api.Get(ctx, &list, url.Values{"email": {r.Email}}, "users-by-email"); err != nil {
		return h, fmt.Errorf("look up a user by address: %w", err)
	}
	for _, a := range list {
		if a.in(t.connectionOf(r)) {
			h.email = a
		}
	}
	return h.recognised(r), nil
}

// read returns one account without its memberships, nil when there is none.
func (t *live) read(ctx context.Context, id string) (*account, error) {
	var a account
	err := t.api.Get(ctx, &a, nil, "users", id)
	if s := tenant.Status(err); s == http.StatusNotFound || s == http.StatusBadRequest { // the latter: no user can have such an id
		return nil, nil //nolint:nilnil // absence is an answer
	}
	if err != nil {
		return nil, fmt.Errorf("read user %s: %w", id, err)
	}
	return &a, nil
}

// completeAll adds the memberships of accounts that were found.
func (t *live) completeAll(ctx context.Context, users []*record, found []holders) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(lookups)
	for i := range found {
		if a := found[i].id; a != nil {
			g.Go(func() error { return t.complete(ctx, a, users[i]) })
		}
	}
	return g.Wait()
}

// complete reads the roles and organizations of an account, as far as a load has
// given it some, or would.
func (t *live) complete(ctx context.Context, a *account, r *record) error {
	type named struct {
		ID   string `json:"id"`
		Name string `json:"name"`
	}
	ours := a.origin()
	roles := slices.Clone(ours.Roles[publicTenant])
	organizations := map[string][]string{}
	for _, tenant := range ours.Tenants {
		organizations[tenant] = ours.Roles[tenant]
	}
	if r != nil {
		roles = append(roles, r.roles...)
		for tenant, names := range r.organizations {
			organizations[tenant] = append(slices.Clone(organizations[tenant]), names...)
		}
	}
	delete(organizations, publicTenant)
	if t.mapper.assignRoles && len(roles) > 0 {
		held, err := tenant.Pages[named](ctx, t.api, "users", a.UserID, "roles")
		switch {
		case tenant.Hidden(err):
			t.believe(a, err)
			a.roles = slices.Clone(ours.Roles[publicTenant])
		case err != nil:
			return fmt.Errorf("read the roles of user %s: %w", a.UserID, err)
		}
		for _, x := range held {
			if slices.Contains(roles, x.Name) {
				a.roles = append(a.roles, x.Name)
			}
		}
		slices.Sort(a.roles)
	}
	if !t.mapper.organizations || len(organizations) == 0 {
		return nil
	}
	held, err := tenant.Pages[named](ctx, t.api, "users", a.UserID, "organizations")
	if tenant.Hidden(err) {
		t.believe(a, err)
		a.organizations = map[string][]string{}
		for _, tenant := range ours.Tenants {
			if tenant != publicTenant && organizationPattern.MatchString(tenant) {
				a.organizations[tenant] = t.believedRoles(ours, tenant)
			}
		}
		return nil
	}
	if err != nil {
		return fmt.Errorf("read the organizations of user %s: %w", a.UserID, err)
	}
	a.organizations = map[string][]string{}
	for _, x := range held {
		wanted, asked := organizations[x.Name]
		if !asked {
			continue
		}
		a.organizations[x.Name] = nil
		if !t.mapper.seats || len(wanted) == 0 {
			continue
		}
		has, err := tenant.Pages[named](ctx, t.api, "organizations", x.ID, "members", a.UserID, "roles")
		switch {
		case tenant.Hidden(err):
			t.believe(a, err)
			a.organizations[x.Name] = t.believedRoles(ours, x.Name)
		case err != nil:
			return fmt.Errorf("read the roles of member %s: %w", a.UserID, err)
		}
		for _, y := range has {
			if slices.Contains(wanted, y.Name) {
				a.organizations[x.Name] = append(a.organizations[x.Name], y.Name)
			}
		}
	}
	return nil
}

// believe is for memberships that the tenant does not show: those that the load has
// noted in the account count.
func (t *live) believe(a *account, err error) {
	a.believed = true
	t.blind.Do(func() {
		t.env.Log.Warn("memberships cannot be read: those noted in app_metadata are taken for given", "error", err)
	})
}

func (t *live) believedRoles(o origin, tenant string) []string {
	if !t.mapper.seats {
		return nil
	}
	return slices.Clone(o.Roles[tenant])
}

// exported are the fields of an export; without a list, nobody says which come.
var exported = []string{
	"user_id", "email", "email_verified", "username", "phone_number", "phone_verified", "given_name", "family_name", "name", "blocked",
	"logins_count", "app_metadata", "user_metadata", "identities",
}

// export has the tenant write down all its users and indexes them.
func (t *live) export(ctx context.Context) (*snapshot, error) {
	t.env.Pulse(sdk.Pulse{Reason: "Auth0 exports its users for comparison"})
	var fields []map[string]string
	for _, name := range exported {
		fields = append(fields, map[string]string{"name": name})
	}
	var job struct {
		ID       string `json:"id"`
		Status   string `json:"status"`
		Location string `json:"location"`
	}
	// Asking twice makes two exports and changes nothing.
	if err := t.api.Call(ctx, http.MethodPost, t.api.URI("jobs", "users-exports"), map[string]any{"format": "json", "fields": fields}, &job); err != nil {
		return nil, fmt.Errorf("start an export of users: %w", err)
	}
	begun, downloads := time.Now(), 0
	for {
		if err := t.api.Get(ctx, &job, nil, "jobs", job.ID); err != nil {
			return nil, fmt.Errorf("look at the export %s: %w", job.ID, err)
		}
		switch {
		case job.Status == statusCompleted && job.Location != "":
			s, err := t.download(ctx, job.Location)
			if downloads++; err == nil || ctx.Err() != nil || downloads == mostDownloads {
				return s, err
			}
			t.env.Log.Warn("an export is downloaded again, with a fresh link", "error", err)
		case job.Status == statusFailed || job.Status == statusExpired:
			return nil, fmt.Errorf("the export %s of users is %s", job.ID, job.Status)
		case time.Since(begun) > jobDeadline:
			return nil, fmt.Errorf("the export %s of users is still %s after %s", job.ID, job.Status, jobDeadline)
		}
		if err := t.pacer.wait(ctx, begun, time.Now(), 0); err != nil {
			return nil, err
		}
	}
}

// mostDownloads is how often one export is fetched: links run out after a minute, and
// connections break.
const mostDownloads = 5

// download fetches an export. The link is signed and takes no token.
func (t *live) download(ctx context.Context, link string) (_ *snapshot, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, link, nil)
	if err != nil {
		return nil, errors.New("the link to an export cannot be read")
	}
	answer, err := t.api.Storage.Do(r)
	if err != nil {
		return nil, fmt.Errorf("download an export: %w", httpx.Redact(err)) // the link opens the export
	}
	defer func() { _ = answer.Body.Close() }()
	if answer.StatusCode != http.StatusOK {
		return nil, &tenant.Error{Status: answer.StatusCode, Message: "the link to the export is not accepted"}
	}
	body := bufio.NewReaderSize(answer.Body, 64<<10)
	var lines io.Reader = body
	if magic, err := body.Peek(2); err == nil && magic[0] == 0x1f && magic[1] == 0x8b {
		if lines, err = gzip.NewReader(body); err != nil {
			return nil, fmt.Errorf("unpack an export: %w", err)
		}
	}
	file, err := os.CreateTemp("", "stetl-export-*") // readable by its owner only
	if err != nil {
		return nil, fmt.Errorf("store an export: %w", err)
	}
	_ = os.Remove(file.Name()) // where the system allows it, the name goes at once
	s := &snapshot{file: file, seed: maphash.MakeSeed(), byID: map[uint64]span{}, byEmail: map[uint64][]span{}}
	if err := s.index(lines); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return s, nil
}

func (s *snapshot) index(lines io.Reader) error {
	w := bufio.NewWriter(s.file)
	at := int64(0)
	for d := json.NewDecoder(lines); ; {
		var raw json.RawMessage
		err := d.Decode(&raw)
		if errors.Is(err, io.EOF) {
			break
		}
		var key struct {
			UserID string `json:"user_id"`
			Email  string `json:"email"`
		}
		if err == nil {
			err = json.Unmarshal(raw, &key)
		}
		if err == nil {
			_, err = w.Write(raw)
		}
		if err != nil {
			return fmt.Errorf("store an export: %w", err)
		}
		here := span{at, len(raw)}
		at += int64(len(raw))
		s.byID[s.hash(key.UserID)] = here
		if key.Email != "" {
			h := s.hash(strings.ToLower(key.Email))
			s.byEmail[h] = append(s.byEmail[h], here)
		}
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("store an export: %w", err)
	}
	return nil
}
