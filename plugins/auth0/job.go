package auth0

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
	"slices"
	"strings"
	"time"

	"github.com/stetl/stetl/core/sdk"
	"github.com/stetl/stetl/core/sdk/httpx"
	"github.com/stetl/stetl/plugins/auth0/internal/tenant"
)

// jobDeadline is a little more than Auth0 gives a job.
const jobDeadline = 2*time.Hour + 10*time.Minute

// importJob is a job as the tenant shows it.
type importJob struct {
	ID      string      `json:"id"`
	Status  string      `json:"status"`
	Details string      `json:"status_details"`
	Summary *jobSummary `json:"summary"`
}

type jobSummary struct {
	Failed   int `json:"failed"`
	Updated  int `json:"updated"`
	Inserted int `json:"inserted"`
	Total    int `json:"total"`
}

// The ends of a job that we can tell apart.
const (
	statusCompleted = "completed"
	statusFailed    = "failed"
	statusExpired   = "expired"
	statusGone      = "gone"    // its data is deleted, or its id was never learnt
	statusUnclear   = "unclear" // it did not end in time
)

// userError is what a job says about one user.
type userError struct {
	User struct {
		UserID string `json:"user_id"`
		Email  string `json:"email"`
	} `json:"user"`
	Errors []struct {
		Code    string `json:"code"`
		Message string `json:"message"`
		Path    string `json:"path"`
	} `json:"errors"`
}

func (e *userError) text() string {
	var parts []string
	for _, x := range e.Errors {
		part := x.Code + ": " + x.Message
		if x.Path != "" {
			part += " (" + x.Path + ")"
		}
		parts = append(parts, part)
	}
	return strings.Join(parts, "; ")
}

func (e *userError) has(code string) bool {
	for _, x := range e.Errors {
		if x.Code == code {
			return true
		}
	}
	return false
}

// ship runs one import job, or what it takes until every parcel has its end. The
// slot is held by the caller and given back here, as soon as the job is over.
func (t *live) ship(ctx context.Context, c *crate) {
	load, upsert := c.load, c.upsert
	job, err := t.run(ctx, c)
	t.freight.release() // what follows needs no slot
	var errs []userError
	if err == nil {
		// The job is over, or nobody can say: either way its users are looked up by their
		// ids from now on. A failure leaves a note too many, which does no harm.
		_ = t.forget(context.WithoutCancel(ctx), c.externalID)
		errs, err = t.conclude(ctx, job)
	}
	switch {
	case tenant.Status(err) == http.StatusRequestEntityTooLarge && len(load) > 1:
		t.halves(ctx, load, upsert)
	case tenant.Status(err) == http.StatusRequestEntityTooLarge:
		load[0].report(sdk.Outcome{SourceID: load[0].source, Action: sdk.Rejected, Code: sdk.CodeUserTooLarge, Detail: err.Error(), Hint: "shorten the metadata in SuperTokens"})
	case err != nil:
		failAll(load, explain(err))
	default:
		if err := t.settle(ctx, load, upsert, job, errs); err != nil {
			failAll(load, explain(err))
		}
	}
}

// halves sends what a job could not take as a whole in two parts.
func (t *live) halves(ctx context.Context, load []*parcel, upsert bool) {
	parts := [][]*parcel{load[:len(load)/2], load[len(load)/2:]}
	if len(load) == 1 {
		parts = [][]*parcel{load}
	}
	for _, part := range parts {
		err := t.freight.acquire(ctx)
		if err == nil {
			err = t.send(ctx, part, upsert)
		}
		if err != nil {
			failAll(part, explain(err))
		}
	}
}

// send packs and ships parcels; the slot is held by the caller.
func (t *live) send(ctx context.Context, load []*parcel, upsert bool) error {
	c, err := t.pack(ctx, load, upsert)
	if err != nil {
		t.freight.release()
		return err
	}
	t.ship(ctx, c)
	return nil
}

// crate is an import request that only needs a slot.
type crate struct {
	load             []*parcel
	upsert           bool
	externalID, kind string
	body             []byte
}

// pack encodes a request and writes down that it may be sent.
func (t *live) pack(ctx context.Context, load []*parcel, upsert bool) (*crate, error) {
	c := &crate{load: load, upsert: upsert, externalID: "stetl-" + random(externalIDLength-6)}
	var err error
	if c.body, c.kind, err = form(t.connection.ID, c.externalID, upsert, array(load, func(p *parcel) []byte { return p.body })); err != nil {
		return nil, err
	}
	note := openJob{ExternalID: c.externalID, Users: len(load), Sent: time.Now().UTC().Format(time.RFC3339)}
	return c, t.notes.change(ctx, func(jobs []openJob) []openJob { return append(jobs, note) })
}

// run sends a job and follows it to its end.
func (t *live) run(ctx context.Context, c *crate) (*importJob, error) {
	job, err := t.begin(ctx, c)
	for attempt := 1; job == nil && err == nil; attempt++ {
		if attempt == sendings {
			return &importJob{Status: statusGone}, nil
		}
		// It never arrived, or writes nothing that a second one would not meet.
		if err := t.forget(ctx, c.externalID); err != nil {
			return nil, err
		}
		again, packErr := t.pack(ctx, c.load, c.upsert)
		if packErr != nil {
			return nil, packErr
		}
		*c = *again
		job, err = t.begin(ctx, c)
	}
	switch {
	case job == nil: // refused
		return nil, errors.Join(err, t.forget(context.WithoutCancel(ctx), c.externalID))
	case err != nil || job.ID == "":
		return job, err
	}
	c.body = nil
	return t.follow(ctx, job.ID, len(c.load))
}

// sendings is how often a request is sent that leaves no trace.
const sendings = 4

// begin sends a request and keeps the id of its job before anything else. It returns
// nothing when there is no trace of a job.
func (t *live) begin(ctx context.Context, c *crate) (*importJob, error) {
	job, err := t.post(ctx, c.body, c.kind)
	if tenant.MayBeDone(err) {
		for _, p := range c.load {
			p.doubt = true
		}
		job, err = t.rediscover(ctx, c.externalID, c.load, err)
	}
	if err != nil || job == nil {
		return nil, err
	}
	// From here on the note stays until the job is over.
	return job, t.notes.change(ctx, func(jobs []openJob) []openJob {
		for i := range jobs {
			if jobs[i].ExternalID == c.externalID {
				jobs[i].ID = job.ID
			}
		}
		return jobs
	})
}

func random(n int) string {
	b := make([]byte, n/2)
	_, _ = rand.Read(b) // never fails, see crypto/rand
	return hex.EncodeToString(b)
}

func (t *live) forget(ctx context.Context, externalID string) error {
	return t.notes.change(ctx, func(jobs []openJob) []openJob {
		return slices.DeleteFunc(jobs, func(j openJob) bool { return j.ExternalID == externalID })
	})
}

// post starts a job. It waits where the tenant says that it is not the moment, and
// never sends twice what may have been taken.
func (t *live) post(ctx context.Context, body []byte, kind string) (*importJob, error) {
	pause := busyPause * t.config.PollInterval.Duration
	for {
		r, err := http.NewRequestWithContext(httpx.Once(ctx), http.MethodPost, t.api.URI("jobs", "users-imports"), bytes.NewReader(body))
		if err != nil {
			return nil, err
		}
		r.Header.Set("Content-Type", kind)
		var job importJob
		err = t.api.Send(r, &job)
		switch {
		case err == nil && job.ID == "":
			return nil, errors.New("the answer to an import names no job")
		case err == nil:
			return &job, nil
		case tenant.Status(err) != http.StatusTooManyRequests:
			return nil, err
		}
		wait, reason := usualPace*t.config.PollInterval.Duration, "Auth0: "+err.Error() // the transport knows how long the limit lasts
		if strings.Contains(err.Error(), "active import users jobs") {
			wait, pause = pause, min(2*pause, busiestPause*t.config.PollInterval.Duration)
			reason = "import jobs of somebody else are running"
		}
		t.env.Pulse(sdk.Pulse{Wait: wait, Reason: reason})
		if err := sleep(ctx, wait); err != nil {
			return nil, err
		}
	}
}

// How many poll intervals to leave the slots to colleagues: at first, and at most.
const (
	busyPause    = 20
	busiestPause = 240
)

var jobIDPattern = regexp.MustCompile(`job_[A-Za-z0-9]{16}`)

// rediscover looks for a job whose answer was lost: in the tenant's log, else by its
// first and last users. It returns nothing when there is no trace of it.
func (t *live) rediscover(ctx context.Context, externalID string, load []*parcel, lost error) (*importJob, error) {
	t.env.Log.Warn("the answer to an import was lost; looking for its job", "external_id", externalID, "error", lost)
	for range 5 {
		if err := sleep(ctx, 2*usualPace*t.config.PollInterval.Duration); err != nil {
			return nil, err
		}
		if id, err := t.jobInLog(ctx, externalID); err != nil || id != "" {
			return &importJob{ID: id}, err
		}
		for _, p := range []*parcel{load[0], load[len(load)-1]} {
			a, err := t.read(ctx, p.targetID())
			if err != nil {
				return nil, err
			}
			if a != nil && a.origin().ID == p.user.ID { // it runs, or has run; its end cannot be seen, so give it time
				return &importJob{Status: statusGone}, sleep(ctx, max(t.pacer.expected(len(load)), 5*usualPace*t.config.PollInterval.Duration))
			}
		}
	}
	return nil, nil //nolint:nilnil // no trace is an answer
}

// jobInLog returns the id of the job with an external id, empty when the log does
// not show it or may not be read.
func (t *live) jobInLog(ctx context.Context, externalID string) (string, error) {
	var entries []json.RawMessage
	err := t.api.Get(ctx, &entries, url.Values{"q": {"type:sapi"}, "sort": {"date:-1"}, "per_page": {"100"}}, "logs")
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

// follow waits for the end of a job. A status that it does not know is taken for
// one on the way.
func (t *live) follow(ctx context.Context, id string, users int) (*importJob, error) {
	begun := time.Now()
	for looked := begun; ; {
		if err := t.pacer.wait(ctx, begun, looked, users); err != nil {
			return nil, err
		}
		looked = time.Now()
		age := looked.Sub(begun)
		job := importJob{ID: id}
		err := t.api.Get(ctx, &job, nil, "jobs", id)
		switch gone := tenant.Status(err) == http.StatusNotFound || tenant.Status(err) == http.StatusGone; {
		case gone && age < longestPace*t.pacer.shortest:
			// A job that was made a moment ago may not be everywhere yet.
		case gone:
			return &importJob{ID: id, Status: statusGone}, nil
		case err != nil:
			return nil, fmt.Errorf("look at job %s: %w", id, err)
		case job.Status == statusCompleted:
			t.pacer.learn(age, users)
			return &job, nil
		case job.Status == statusFailed, job.Status == statusExpired:
			return &job, nil
		case age > jobDeadline:
			return &importJob{ID: id, Status: statusUnclear}, nil
		}
		t.env.Pulse(sdk.Pulse{Reason: fmt.Sprintf("job %s with %d users is %s since %s", id, users, job.Status, age.Round(time.Second))})
	}
}

// conclude fetches the errors of a job, which are gone after a day, and keeps what
// they say.
func (t *live) conclude(ctx context.Context, job *importJob) ([]userError, error) {
	var errs []userError
	if job.ID != "" { // a user who lacks its authenticator need not be among the failed ones
		var raw json.RawMessage
		err := t.api.Get(ctx, &raw, nil, "jobs", job.ID, "errors")
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
			var whole importJob
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
		Job      *importJob `json:"job"`
		Failures []failure  `json:"failures,omitempty"`
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
	if err := t.notes.evidence(ctx, job.ID, kept); err != nil {
		t.env.Log.Warn("what a job has said cannot be kept", "job", job.ID, "error", err)
	}
	return errs, nil
}

// recover waits, once, for the jobs that an earlier process has started: their
// users are in doubt, and a look at them tells nothing before the jobs are over.
func (t *live) recover(ctx context.Context) error {
	t.opening.Lock()
	defer t.opening.Unlock()
	if t.recovered {
		return nil
	}
	for _, j := range t.notes.list() {
		id := j.ID
		if id == "" {
			var err error
			if id, err = t.jobInLog(ctx, j.ExternalID); err != nil {
				return err
			}
		}
		if id != "" {
			t.env.Log.Info("following a job of an earlier run", "job", id)
			job, err := t.follow(ctx, id, j.Users)
			if err != nil {
				return err
			}
			if _, err := t.conclude(ctx, job); err != nil {
				return err
			}
		}
		if err := t.forget(ctx, j.ExternalID); err != nil {
			return err
		}
	}
	t.recovered = true
	return nil
}
