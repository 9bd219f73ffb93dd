package importjob

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/stetl/stetl/core/sdk"
	"github.com/stetl/stetl/core/sdk/httpx"
	"github.com/stetl/stetl/plugins/auth0/internal/tenant"
)

// deadline is a little more than Auth0 gives a job.
const deadline = 2*time.Hour + 10*time.Minute

// Job is a job as the tenant shows it.
type Job struct {
	ID      string   `json:"id"`
	Status  string   `json:"status"`
	Details string   `json:"status_details"`
	Summary *Summary `json:"summary"`
}

// Summary are the sums of a job.
type Summary struct {
	Failed   int `json:"failed"`
	Updated  int `json:"updated"`
	Inserted int `json:"inserted"`
	Total    int `json:"total"`
}

// The ends of a job that we can tell apart.
const (
	Completed = "completed"
	failed    = "failed"
	expired   = "expired"
	gone      = "gone"    // its data is deleted, or its id was never learnt
	unclear   = "unclear" // it did not end in time
)

// unknown says that nobody can tell what became of the job.
func (j *Job) unknown() bool { return j.Status == gone || j.Status == unclear }

// runner runs jobs, each from its request to what it says at the end.
type runner struct {
	client *tenant.Client
	env    sdk.Env
	notes  notes
	pacer  Pacer
	poll   time.Duration
	here   func(ctx context.Context, p *Item) (bool, error)

	mu         sync.Mutex
	connection string
	recovered  bool
	remembered map[string]bool // what earlier processes have sent and not ended
}

// request is an import request that only needs a slot.
type request struct {
	load             []*Item
	upsert           bool
	externalID, kind string
	body             []byte
}

// pack encodes a request and writes down that it may be sent.
func (r *runner) pack(ctx context.Context, load []*Item, upsert bool) (*request, error) {
	c := &request{load: load, upsert: upsert, externalID: "stetl-" + random(externalIDLength-6)}
	var err error
	if c.body, c.kind, err = form(r.connection, c.externalID, upsert, Array(load, (*Item).encoded)); err != nil {
		return nil, err
	}
	note := openJob{ExternalID: c.externalID, Users: len(load), Sent: time.Now().UTC().Format(time.RFC3339), Bodies: r.notes.prints(load)}
	return c, r.notes.change(ctx, func(jobs []openJob) []openJob { return append(jobs, note) })
}

func random(n int) string {
	b := make([]byte, n/2)
	_, _ = rand.Read(b) // never fails, see crypto/rand
	return hex.EncodeToString(b)
}

// sendings is how often a request is sent that leaves no trace.
const sendings = 4

// run sends a job and follows it to its end.
func (r *runner) run(ctx context.Context, c *request) (*Job, error) {
	job, err := r.begin(ctx, c)
	for attempt := 1; job == nil && err == nil; attempt++ {
		if attempt == sendings {
			return &Job{Status: gone}, nil
		}
		// It never arrived, or writes nothing that a second one would not meet.
		if err := r.notes.forget(ctx, c.externalID); err != nil {
			return nil, err
		}
		again, packErr := r.pack(ctx, c.load, c.upsert)
		if packErr != nil {
			return nil, packErr
		}
		*c = *again
		job, err = r.begin(ctx, c)
	}
	switch {
	case job == nil: // refused
		return nil, errors.Join(err, r.notes.forget(context.WithoutCancel(ctx), c.externalID))
	case err != nil || job.ID == "":
		return job, err
	}
	c.body = nil
	return r.follow(ctx, job.ID, len(c.load))
}

// begin sends a request and keeps the id of its job before anything else. It returns
// nothing when there is no trace of a job.
func (r *runner) begin(ctx context.Context, c *request) (*Job, error) {
	job, err := r.post(ctx, c.body, c.kind)
	if tenant.MayBeDone(err) {
		for _, p := range c.load {
			p.Doubt = true
		}
		job, err = r.rediscover(ctx, c.externalID, c.load, err)
	}
	if err != nil || job == nil {
		return nil, err
	}
	// From here on the note stays until the job is over.
	return job, r.notes.change(ctx, func(jobs []openJob) []openJob {
		for i := range jobs {
			if jobs[i].ExternalID == c.externalID {
				jobs[i].ID = job.ID
			}
		}
		return jobs
	})
}

// How many poll intervals to leave the slots to colleagues: at first, and at most.
const (
	busyPause    = 20
	busiestPause = 240
)

// post starts a job. It waits where the tenant says that it is not the moment, and
// never sends twice what may have been taken.
func (r *runner) post(ctx context.Context, body []byte, kind string) (*Job, error) {
	pause := busyPause * r.poll
	for {
		request, err := http.NewRequestWithContext(httpx.Once(ctx), http.MethodPost, r.client.URI("jobs", "users-imports"), bytes.NewReader(body))
		if err != nil {
			return nil, err
		}
		request.Header.Set("Content-Type", kind)
		var job Job
		err = r.client.Send(request, &job)
		switch {
		case err == nil && job.ID == "":
			return nil, fmt.Errorf("%w: it names no job", tenant.ErrUnreadable)
		case err == nil:
			return &job, nil
		case tenant.Status(err) != http.StatusTooManyRequests:
			return nil, err
		}
		wait, reason := usualPace*r.poll, "Auth0: "+err.Error() // the transport knows how long the limit lasts
		if strings.Contains(err.Error(), "active import users jobs") {
			wait, pause = pause, min(2*pause, busiestPause*r.poll)
			reason = "import jobs of somebody else are running"
		}
		r.env.Pulse(sdk.Pulse{Wait: wait, Reason: reason})
		if err := httpx.Sleep(ctx, wait); err != nil {
			return nil, err
		}
	}
}

var jobIDPattern = regexp.MustCompile(`job_[A-Za-z0-9]{16}`)

// rediscover looks for a job whose answer was lost: in the tenant's log, else by its
// first and last users. It returns nothing when there is no trace of it.
func (r *runner) rediscover(ctx context.Context, externalID string, load []*Item, lost error) (*Job, error) {
	r.env.Log.Warn("the answer to an import was lost; looking for its job", "external_id", externalID, "error", lost)
	for range 5 {
		if err := httpx.Sleep(ctx, 2*usualPace*r.poll); err != nil {
			return nil, err
		}
		if id, err := r.inLog(ctx, externalID); err != nil || id != "" {
			return &Job{ID: id}, err
		}
		for _, p := range []*Item{load[0], load[len(load)-1]} {
			if p.Upsert {
				continue // it was there before
			}
			here, err := r.here(ctx, p)
			if err != nil {
				return nil, err
			}
			if here { // it runs, or has run; its end cannot be seen, so give it time
				return &Job{Status: gone}, httpx.Sleep(ctx, max(r.pacer.expected(len(load)), 5*usualPace*r.poll))
			}
		}
	}
	return nil, nil //nolint:nilnil // no trace is an answer
}

// inLog returns the id of the job with an external id, empty when the tenant's log does
// not show it or may not be read.
func (r *runner) inLog(ctx context.Context, externalID string) (string, error) {
	var entries []json.RawMessage
	err := r.client.Get(ctx, &entries, url.Values{"q": {"type:sapi"}, "sort": {"date:-1"}, "per_page": {"100"}}, "logs")
	switch {
	case tenant.Status(err) != 0:
		return "", nil // without the scope, there are other ways
	case err != nil:
		return "", err
	}
	for _, e := range entries {
		if bytes.Contains(e, []byte(externalID)) {
			return string(jobIDPattern.Find(e)), nil
		}
	}
	return "", nil
}

// mostUnseen is how many looks at a job may fail in a row: what runs is not given up
// because of an answer.
const mostUnseen = 8

// follow waits for the end of a job. A status that it does not know is taken for
// one on the way.
func (r *runner) follow(ctx context.Context, id string, users int) (*Job, error) {
	begun, unseen := time.Now(), 0
	for looked := begun; ; {
		if err := r.pacer.Wait(ctx, begun, looked, users); err != nil {
			return nil, err
		}
		looked = time.Now()
		age := looked.Sub(begun)
		job := Job{ID: id}
		err := r.client.Get(ctx, &job, nil, "jobs", id)
		absent := tenant.Status(err) == http.StatusNotFound || tenant.Status(err) == http.StatusGone
		if err == nil || absent {
			unseen = 0
		}
		switch {
		case absent && age < longestPace*r.pacer.shortest:
			// A job that was made a moment ago may not be everywhere yet.
		case absent:
			return &Job{ID: id, Status: gone}, nil
		case err != nil && (unseen == mostUnseen || tenant.Fatal(ctx, err)):
			return nil, fmt.Errorf("look at job %s: %w", id, err)
		case err != nil:
			unseen++
			r.env.Log.Warn("a look at a job has failed and is taken again", "job", id, "error", err)
		case job.Status == Completed:
			r.pacer.learn(age, users)
			return &job, nil
		case job.Status == failed, job.Status == expired:
			return &job, nil
		case age > deadline:
			return &Job{ID: id, Status: unclear}, nil
		}
		r.env.Pulse(sdk.Pulse{Reason: fmt.Sprintf("job %s with %d users is %s since %s", id, users, job.Status, age.Round(time.Second))})
	}
}

// conclude fetches the errors of a job, which are gone after a day, and keeps what
// they say.
func (r *runner) conclude(ctx context.Context, job *Job) ([]UserError, error) {
	var errs []UserError
	if job.ID != "" { // a user who lacks its authenticator need not be among the failed ones
		var raw json.RawMessage
		err := r.client.Get(ctx, &raw, nil, "jobs", job.ID, "errors")
		if err != nil && tenant.Status(err) != http.StatusNotFound {
			return nil, fmt.Errorf("fetch the errors of job %s: %w", job.ID, err)
		}
		raw = bytes.TrimSpace(raw)
		switch {
		case len(raw) == 0, string(raw) == "null": // no content: also said about some jobs that failed
		case raw[0] == '[':
			if err := json.Unmarshal(raw, &errs); err != nil {
				return nil, fmt.Errorf("read the errors of job %s: %w", job.ID, err)
			}
		default:
			var whole Job
			if json.Unmarshal(raw, &whole) == nil {
				job.Details = whole.Details
			}
		}
	}
	type failure struct {
		UserID string `json:"user_id"`
		Why    string `json:"why"`
	}
	kept := struct {
		Job      *Job      `json:"job"`
		Failures []failure `json:"failures,omitempty"`
	}{Job: job}
	for i := range errs {
		if id := errs[i].User.UserID; id != "" && len(kept.Failures) < 2_000 {
			var codes []string // a message can quote personal data
			for _, x := range errs[i].Errors {
				codes = append(codes, x.Code)
			}
			kept.Failures = append(kept.Failures, failure{id, strings.Join(codes, ", ")})
		}
	}
	// Past the moment where a failure could be undone: the users have their outcomes.
	if err := r.notes.evidence(ctx, job.ID, kept); err != nil {
		r.env.Log.Warn("what a job has said cannot be kept", "job", job.ID, "error", err)
	}
	return errs, nil
}

// remember reads what earlier processes have sent.
func (r *runner) remember() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.remembered == nil {
		r.remembered = r.notes.sent()
	}
}

// recover waits, once, for the jobs that an earlier process has started: their
// users are in doubt, and a look at them tells nothing before the jobs are over.
func (r *runner) recover(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.recovered {
		return nil
	}
	for _, j := range r.notes.list() {
		id := j.ID
		if id == "" {
			var err error
			if id, err = r.inLog(ctx, j.ExternalID); err != nil {
				return err
			}
		}
		if id != "" {
			r.env.Log.Info("following a job of an earlier run", "job", id)
			job, err := r.follow(ctx, id, j.Users)
			if err != nil {
				return err
			}
			if _, err := r.conclude(ctx, job); err != nil {
				return err
			}
		}
		if err := r.notes.forget(ctx, j.ExternalID); err != nil {
			return err
		}
	}
	r.recovered = true
	return nil
}
