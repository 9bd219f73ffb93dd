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
	"sync"
	"time"

	"github.com/stetl/stetl/core/sdk"
	"github.com/stetl/stetl/core/sdk/httpx"
)

// jobDeadline is a little more than Auth0 gives a job.
const jobDeadline = 2*time.Hour + 10*time.Minute

// importJob is a job as the tenant shows it.
type importJob struct {
	ID      string `json:"id"`
	Status  string `json:"status"`
	Details string `json:"status_details"`
	Summary *struct {
		Failed   int `json:"failed"`
		Updated  int `json:"updated"`
		Inserted int `json:"inserted"`
		Total    int `json:"total"`
	} `json:"summary"`
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

// pacer says when to look at a job again: shortly before the end that earlier jobs
// let expect, and often from then on, so that a slot is not left idle. Without an
// expectation, the time between two looks grows with the job's age.
type pacer struct {
	shortest time.Duration

	mu      sync.Mutex
	perUser time.Duration // of the jobs so far
}

const (
	longestPace = 15   // times the shortest
	early       = 0.95 // of the expected time
)

func (p *pacer) next(age time.Duration, users int) time.Duration {
	p.mu.Lock()
	expected := time.Duration(early * float64(p.perUser) * float64(users))
	p.mu.Unlock()
	wait := age / 12
	switch {
	case expected > age:
		wait = expected - age
	case expected > 0:
		wait = (age - expected) / 4
	}
	return min(max(wait, p.shortest), longestPace*p.shortest)
}

// learn takes note of how long a job took.
func (p *pacer) learn(took time.Duration, users int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := took / time.Duration(max(users, 1))
	if p.perUser == 0 {
		p.perUser = now
	}
	p.perUser = (p.perUser + now) / 2
}

// ship runs one import job, or what it takes until every parcel has its end. The
// slot is held by the caller and given back here.
func (t *live) ship(ctx context.Context, load []*parcel, upsert bool) {
	free := true
	release := func() {
		if free {
			free = false
			t.freight.release()
		}
	}
	defer release()
	job, errs, err := t.run(ctx, load, upsert)
	release() // what follows needs no slot
	switch {
	case status(err) == http.StatusRequestEntityTooLarge && len(load) > 1:
		t.halves(ctx, load, upsert)
	case status(err) == http.StatusRequestEntityTooLarge:
		load[0].report(sdk.Outcome{SourceID: load[0].source, Action: sdk.Rejected, Code: codeUserTooLarge, Detail: err.Error(), Hint: "shorten the metadata in SuperTokens"})
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
		if err := t.freight.acquire(ctx); err != nil {
			failAll(part, err)
			continue
		}
		t.ship(ctx, part, upsert)
	}
}

// run sends a job and follows it to its end.
func (t *live) run(ctx context.Context, load []*parcel, upsert bool) (*importJob, []userError, error) {
	users := array(load, func(p *parcel) []byte { return p.body })
	var job *importJob
	for attempt := 0; job == nil; attempt++ {
		externalID := "stetl-" + random(externalIDLength-6)
		body, kind, err := form(t.connection.ID, externalID, upsert, users)
		if err != nil {
			return nil, nil, err
		}
		note := openJob{ExternalID: externalID, Users: len(load), Sent: time.Now().UTC().Format(time.RFC3339)}
		if err := t.notes.change(ctx, func(jobs []openJob) []openJob { return append(jobs, note) }); err != nil {
			return nil, nil, err // before anything is sent
		}
		job, err = t.post(ctx, body, kind)
		if mayBeDone(err) {
			for _, p := range load {
				p.doubt = true
			}
			job, err = t.rediscover(ctx, externalID, load, err)
			if job == nil && err == nil && attempt < 3 {
				err = t.forget(ctx, externalID)
				if err == nil {
					continue // it never arrived, or writes nothing that a second one would not meet
				}
			}
			if job == nil && err == nil {
				job = &importJob{Status: statusGone}
			}
		}
		if err != nil {
			return nil, nil, errors.Join(err, t.forget(ctx, externalID))
		}
		err = t.notes.change(ctx, func(jobs []openJob) []openJob {
			for i := range jobs {
				if jobs[i].ExternalID == externalID {
					jobs[i].ID = job.ID
				}
			}
			return jobs
		})
		if err != nil {
			return nil, nil, err
		}
		defer func() {
			// The job is over, or nobody can say: either way its users are looked up by
			// their ids from now on. A failure leaves a note too many, which does no harm.
			_ = t.forget(context.WithoutCancel(ctx), externalID)
		}()
	}
	if job.ID != "" {
		ended, err := t.follow(ctx, job.ID, len(load))
		if err != nil {
			return nil, nil, err
		}
		job = ended
	}
	return t.conclude(ctx, job)
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
		r, err := http.NewRequestWithContext(httpx.Once(ctx), http.MethodPost, t.api.sdk.URI("jobs", "users-imports"), bytes.NewReader(body))
		if err != nil {
			return nil, err
		}
		r.Header.Set("Content-Type", kind)
		var job importJob
		err = t.api.send(r, &job)
		switch {
		case err == nil && job.ID == "":
			return nil, errors.New("the answer to an import names no job")
		case err == nil:
			return &job, nil
		case status(err) != http.StatusTooManyRequests:
			return nil, err
		}
		wait, reason := t.config.PollInterval.Duration, "Auth0: "+err.Error() // the transport knows how long the limit lasts
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
	busyPause    = 5
	busiestPause = 60
)

var jobIDPattern = regexp.MustCompile(`job_[A-Za-z0-9]{16}`)

// rediscover looks for a job whose answer was lost: in the tenant's log, else by its
// first and last users. It returns nothing when there is no trace of it.
func (t *live) rediscover(ctx context.Context, externalID string, load []*parcel, lost error) (*importJob, error) {
	t.env.Log.Warn("the answer to an import was lost; looking for its job", "external_id", externalID, "error", lost)
	for range 5 {
		if err := sleep(ctx, 2*t.config.PollInterval.Duration); err != nil {
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
			if a != nil { // it runs, or has run; its end cannot be seen, so give it time
				return &importJob{Status: statusGone}, sleep(ctx, 5*t.config.PollInterval.Duration)
			}
		}
	}
	return nil, nil //nolint:nilnil // no trace is an answer
}

// jobInLog returns the id of the job with an external id, empty when the log does
// not show it or may not be read.
func (t *live) jobInLog(ctx context.Context, externalID string) (string, error) {
	var entries []json.RawMessage
	err := t.api.get(ctx, &entries, url.Values{"q": {"type:sapi"}, "sort": {"date:-1"}, "per_page": {"100"}}, "logs")
	switch {
	case status(err) != 0:
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
	for {
		if err := sleep(ctx, t.pacer.next(time.Since(begun), users)); err != nil {
			return nil, err
		}
		job := importJob{ID: id}
		err := t.api.get(ctx, &job, nil, "jobs", id)
		switch {
		case status(err) == http.StatusNotFound && time.Since(begun) < longestPace*t.pacer.shortest:
			// A job that was made a moment ago may not be everywhere yet.
		case status(err) == http.StatusNotFound:
			return &importJob{ID: id, Status: statusGone}, nil
		case err != nil:
			return nil, fmt.Errorf("look at job %s: %w", id, err)
		case job.Status == statusCompleted, job.Status == statusFailed, job.Status == statusExpired:
			t.pacer.learn(time.Since(begun), users)
			return &job, nil
		case time.Since(begun) > jobDeadline:
			return &importJob{ID: id, Status: statusUnclear}, nil
		}
		t.env.Pulse(sdk.Pulse{Reason: fmt.Sprintf("job %s with %d users is %s since %s", id, users, job.Status, time.Since(begun).Round(time.Second))})
	}
}

// conclude fetches the errors of a job, which are gone after a day, and keeps what
// they say.
func (t *live) conclude(ctx context.Context, job *importJob) (*importJob, []userError, error) {
	var errs []userError
	if job.ID != "" && (job.Status != statusCompleted || job.Summary == nil || job.Summary.Failed > 0) {
		var raw json.RawMessage
		err := t.api.get(ctx, &raw, nil, "jobs", job.ID, "errors")
		if err != nil && status(err) != http.StatusNotFound {
			return nil, nil, fmt.Errorf("fetch the errors of job %s: %w", job.ID, err)
		}
		raw = bytes.TrimSpace(raw)
		switch {
		case len(raw) == 0: // no content: also said about some jobs that failed
		case raw[0] == '[':
			if err := json.Unmarshal(raw, &errs); err != nil {
				return nil, nil, fmt.Errorf("read the errors of job %s: %w", job.ID, err)
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
	return job, errs, nil
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
			if _, _, err := t.conclude(ctx, job); err != nil {
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
