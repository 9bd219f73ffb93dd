package importjob

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"

	"github.com/stetl/stetl/core/sdk"
	"github.com/stetl/stetl/plugins/auth0/internal/tenant"
)

// sender is where jobs leave, and where what comes of them arrives.
type sender struct {
	settler Settler
	runner  runner
	slots   slots

	failing atomic.Int64 // jobs in a row that failed as a whole
	worked  atomic.Bool  // a job has done something
}

// send runs one import job, or what it takes until every item has its end. The
// slot is held by the caller and given back here, as soon as the job is over.
func (s *sender) send(ctx context.Context, c *request) {
	e := Ending{Load: c.load, Upsert: c.upsert}
	var errs []UserError
	var err error
	e.Job, err = s.runner.run(ctx, c)
	s.slots.release() // what follows needs no slot
	if err == nil {
		errs, err = s.runner.conclude(ctx, e.Job)
	}
	var missing []*Item
	if err == nil {
		e.Said = join(c.load, errs)
		missing, err = s.settler.Settle(ctx, &e)
		if err == nil {
			// The job is over, or nobody can say. A failure leaves a note too many, which does no
			// harm. It goes before the outcomes, as the journal cannot be written after them.
			_ = s.runner.notes.forget(context.WithoutCancel(ctx), c.externalID)
		}
	}
	for _, p := range c.load {
		p.report()
	}
	switch {
	case tenant.Status(err) == http.StatusRequestEntityTooLarge && len(c.load) > 1:
		s.halves(ctx, c.load, c.upsert)
	case tenant.Status(err) == http.StatusRequestEntityTooLarge:
		p := c.load[0]
		p.End(sdk.Outcome{SourceID: p.Source, Action: sdk.Rejected, Code: sdk.CodeUserTooLarge, Detail: err.Error(), Hint: "shorten the metadata in SuperTokens"})
		p.report()
	case err != nil:
		failAll(c.load, s.settler.Explain(err))
	default:
		s.again(ctx, missing, &e)
	}
}

// halves sends what a job could not take as a whole in two parts.
func (s *sender) halves(ctx context.Context, load []*Item, upsert bool) {
	parts := [][]*Item{load[:len(load)/2], load[len(load)/2:]}
	if len(load) == 1 {
		parts = [][]*Item{load}
	}
	for _, part := range parts {
		err := s.slots.acquire(ctx)
		var c *request
		if err == nil {
			if c, err = s.runner.pack(ctx, part, upsert); err != nil {
				s.slots.release()
			}
		}
		if err != nil {
			failAll(part, s.settler.Explain(err))
			continue
		}
		s.send(ctx, c)
	}
}

// mostFailing is how many jobs may fail as a whole in a row: more than it takes to find
// one user among all of a job by halving it.
const mostFailing = 16

// again deals with users that a job should have written and has not.
func (s *sender) again(ctx context.Context, missing []*Item, e *Ending) {
	if len(missing) < len(e.Load) {
		s.failing.Store(0)
		s.worked.Store(true)
	}
	if len(missing) == 0 {
		return
	}
	if e.Job.unknown() {
		for _, p := range missing {
			p.End(sdk.Outcome{
				SourceID: p.Source, Action: sdk.InDoubt, Code: sdk.CodeUnknownAnswer,
				Detail: "the user was sent, what became of the job is unknown, and the user is not there yet", Hint: "run again: the user is looked up first",
			})
			p.report()
		}
		return
	}
	alone := len(missing) == 1 && len(e.Load) == 1
	if len(missing) == len(e.Load) && (s.failing.Add(1) > mostFailing || alone && !s.worked.Load()) {
		failAll(missing, fmt.Errorf("import jobs fail one after the other, whoever is in them; the last one is %s: %s", e.Job.Status, cmp.Or(e.Job.Details, "it gives no reason")))
		return
	}
	if alone {
		p := missing[0]
		detail := "the job is " + e.Job.Status
		if e.Job.Details != "" {
			detail += ": " + e.Job.Details
		}
		if said := e.Said[p]; said != nil {
			detail = said.Text()
		}
		p.End(sdk.Outcome{SourceID: p.Source, Action: sdk.Rejected, Code: sdk.CodeTargetRefused, Detail: detail, Hint: "look at the account in SuperTokens; the job said nothing more"})
		p.report()
		return
	}
	s.halves(ctx, missing, e.Upsert)
}

// failAll ends items without outcomes.
func failAll(load []*Item, err error) {
	if err == nil {
		err = errors.New("an import ended without an answer")
	}
	for _, p := range load {
		p.fail(err)
	}
}

// slots are those that the tenant has for jobs.
type slots chan struct{}

func (s slots) acquire(ctx context.Context) error {
	select {
	case s <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (s slots) release() { <-s }
