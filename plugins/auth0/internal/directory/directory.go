package directory

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
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

// Directory knows the accounts of one tenant. A few are looked up; when they become
// many, all users of the tenant are exported once, and only what this process has written
// since is looked up. It is safe for concurrent use.
type Directory struct {
	client *tenant.Client
	env    sdk.Env
	most   int // look-ups before an export
	pause  func(ctx context.Context, begun time.Time) error

	mu    sync.Mutex
	asked int
	snap  *snapshot
	never bool            // the tenant exports nothing for this application
	dirty map[string]bool // ids written since the snapshot
}

// New returns a directory that knows nobody. So many accounts are looked up before all are
// exported; pause waits until it is time to look at an export again that has begun then.
func New(client *tenant.Client, env sdk.Env, most int, pause func(ctx context.Context, begun time.Time) error) *Directory {
	return &Directory{client: client, env: env, most: most, pause: pause}
}

// Touched notes that this process has written an account.
func (d *Directory) Touched(id string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.snap != nil {
		d.dirty[id] = true
	}
}

// Close forgets everybody.
func (d *Directory) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.drop()
}

func (d *Directory) drop() error {
	if d.snap == nil {
		return nil
	}
	s := d.snap
	d.snap = nil
	return s.close()
}

// Find returns, for each question, the accounts in the way. A look-up that fails costs
// nobody else's; an error is about everybody.
func (d *Directory) Find(ctx context.Context, questions []Question) ([]Holders, error) {
	out := make([]Holders, len(questions))
	ask, err := d.recall(ctx, questions, out)
	if err != nil {
		return nil, err
	}
	return out, d.Lookup(ctx, questions, ask, out)
}

// Lookup asks the tenant itself about some of the questions, by their places.
func (d *Directory) Lookup(ctx context.Context, questions []Question, places []int, out []Holders) error {
	g, asking := errgroup.WithContext(ctx)
	g.SetLimit(lookups)
	for _, i := range places {
		g.Go(func() error {
			h, err := d.lookup(asking, &questions[i])
			if tenant.Fatal(asking, err) {
				return err
			}
			h.Err, out[i] = err, h
			if err != nil {
				out[i] = Holders{Err: err}
			}
			return nil
		})
	}
	return g.Wait()
}

// recall answers from the snapshot and returns who has to be looked up.
func (d *Directory) recall(ctx context.Context, questions []Question, out []Holders) (ask []int, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for round := 0; ; round++ {
		ask = nil
		for i := range questions {
			q := &questions[i]
			if d.snap == nil || d.dirty[q.ID] || d.dirty[q.Known] {
				ask = append(ask, i)
				continue
			}
			if out[i], err = d.snap.find(q); err != nil {
				return nil, err
			}
			if !out[i].Known && q.Known != "" {
				ask = append(ask, i) // the snapshot may be older
			}
		}
		if d.asked+len(ask) <= d.most || round > 0 || d.never {
			d.asked += len(ask)
			return ask, nil
		}
		if err := d.drop(); err != nil {
			return nil, err
		}
		d.snap, err = d.export(ctx)
		if err != nil && tenant.Status(err) != http.StatusForbidden && tenant.Fatal(ctx, err) {
			return nil, err
		}
		if err != nil {
			d.env.Log.Warn("users cannot be exported and are looked up one by one", "error", err)
			d.snap, d.never = nil, true
		}
		d.asked, d.dirty = 0, map[string]bool{}
	}
}

// lookup asks the tenant about one user.
func (d *Directory) lookup(ctx context.Context, q *Question) (h Holders, err error) {
	if q.Known != "" {
		if h.ID, err = d.Read(ctx, q.Known); err != nil || h.ID != nil {
			h.Known = true
			return h, err
		}
	}
	if q.ID != q.Known {
		if h.ID, err = d.Read(ctx, q.ID); err != nil || h.ID != nil {
			return h, err
		}
	}
	if q.Email == "" {
		return h, nil
	}
	list, err := d.ByEmail(ctx, q.Email)
	for _, a := range list {
		if a.In(q.Connection) {
			h.Email = a
		}
	}
	return h.recognised(q), err
}

// ByEmail lists the accounts of all connections that have an address, in lower case.
func (d *Directory) ByEmail(ctx context.Context, email string) (list []*Account, err error) {
	if err := d.client.Get(ctx, &list, url.Values{"email": {email}}, "users-by-email"); err != nil {
		return nil, fmt.Errorf("look up a user by address: %w", err)
	}
	return list, nil
}

// Marked lists the accounts that carry a value in their app_metadata, under a path, as far
// as the tenant's search knows: it lags behind by seconds.
func (d *Directory) Marked(ctx context.Context, path, value string) (list []*Account, err error) {
	quoted := strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(value)
	query := url.Values{"q": {"app_metadata." + path + `:"` + quoted + `"`}, "search_engine": {"v3"}}
	if err := d.client.Get(ctx, &list, query, "users"); err != nil {
		return nil, fmt.Errorf("search for a user by its mark: %w", err)
	}
	return list, nil
}

// Read returns one account, nil when there is none.
func (d *Directory) Read(ctx context.Context, id string) (*Account, error) {
	var a Account
	err := d.client.Get(ctx, &a, nil, "users", id)
	if s := tenant.Status(err); s == http.StatusNotFound || s == http.StatusBadRequest { // the latter: no user can have such an id
		return nil, nil //nolint:nilnil // absence is an answer
	}
	if err != nil {
		return nil, fmt.Errorf("read user %s: %w", id, err)
	}
	return &a, nil
}

// How an export ends, and how long it may take: a little more than Auth0 gives a job.
const (
	completed = "completed"
	failed    = "failed"
	expired   = "expired"
	deadline  = 2*time.Hour + 10*time.Minute
	// mostDownloads is how often one export is fetched: links run out after a minute, and
	// connections break.
	mostDownloads = 5
)

// export has the tenant write down all its users and indexes them.
func (d *Directory) export(ctx context.Context) (*snapshot, error) {
	d.env.Pulse(sdk.Pulse{Reason: "Auth0 exports its users for comparison"})
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
	if err := d.client.Call(ctx, http.MethodPost, d.client.URI("jobs", "users-exports"), map[string]any{"format": "json", "fields": fields}, &job); err != nil {
		return nil, fmt.Errorf("start an export of users: %w", err)
	}
	begun, downloads := time.Now(), 0
	for {
		if err := d.client.Get(ctx, &job, nil, "jobs", job.ID); err != nil {
			return nil, fmt.Errorf("look at the export %s: %w", job.ID, err)
		}
		switch {
		case job.Status == completed && job.Location != "":
			s, err := d.download(ctx, job.Location)
			if downloads++; err == nil || ctx.Err() != nil || downloads == mostDownloads {
				return s, err
			}
			d.env.Log.Warn("an export is downloaded again, with a fresh link", "error", err)
		case job.Status == failed || job.Status == expired:
			return nil, fmt.Errorf("the export %s of users is %s", job.ID, job.Status)
		case time.Since(begun) > deadline:
			return nil, fmt.Errorf("the export %s of users is still %s after %s", job.ID, job.Status, deadline)
		}
		if err := d.pause(ctx, begun); err != nil {
			return nil, err
		}
	}
}

// download fetches an export. The link is signed and takes no token.
func (d *Directory) download(ctx context.Context, link string) (*snapshot, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, link, nil)
	if err != nil {
		return nil, errors.New("the link to an export cannot be read")
	}
	answer, err := d.client.Storage.Do(r)
	if err != nil {
		return nil, fmt.Errorf("download an export: %w", httpx.Redact(err)) // the link opens the export
	}
	defer func() { _ = answer.Body.Close() }()
	if answer.StatusCode != http.StatusOK {
		return nil, &tenant.Error{Status: answer.StatusCode, Message: "the link to the export is not accepted"}
	}
	return newSnapshot(answer.Body, func(n int) { d.env.Pulse(sdk.Pulse{Reason: "reading the export of Auth0's users", Done: n}) })
}
