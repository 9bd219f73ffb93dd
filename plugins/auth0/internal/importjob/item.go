// Package importjob brings users into the tenant through import jobs: it packs them into
// full ones, keeps the tenant's slots busy, writes down what is on its way before it
// goes, and joins what a job has said with the users it was about. What the outcome of a
// user is, a [Settler] decides.
package importjob

import (
	"context"
	"strings"
	"sync"

	"github.com/stetl/stetl/core/sdk"
)

// IDPrefix is what Auth0 puts in front of the ids of every database connection.
const IDPrefix = "auth0|"

// User is who goes into a job.
type User struct {
	Source string
	// ID is without the prefix, as it stands in Body; Email is in lower case.
	ID, Email string
	Body      []byte
	// Upsert says that the user is there, and that a job is to change it.
	Upsert bool
	// Doubt says that an earlier request with the user may have been carried out.
	Doubt bool
	// Payload is whatever else its settler wants to know.
	Payload any
}

// Item is a user on its way into a job.
type Item struct {
	User
	out sdk.Outcomes
	// ctx is of the call that brought it: when that is over, nobody waits for an outcome
	// any more.
	ctx  context.Context //nolint:containedctx // belongs to the caller, see above
	done chan error
	once sync.Once
	end  *sdk.Outcome
}

// NewItem prepares a user, whose outcome goes to out.
func NewItem(ctx context.Context, u User, out sdk.Outcomes) *Item {
	return &Item{User: u, out: out, ctx: ctx, done: make(chan error, 1)}
}

// TargetID is the id of its account.
func (p *Item) TargetID() string { return IDPrefix + p.ID }

// End is what became of the user. It is reported once the job is off the notes.
func (p *Item) End(o sdk.Outcome) { p.end = &o }

// report hands the end over to the sender.
func (p *Item) report() {
	if p.end == nil {
		return
	}
	p.once.Do(func() {
		if p.ctx.Err() == nil {
			p.out.Report(*p.end)
		}
		p.done <- nil
	})
}

// abandoned says that nobody waits for the item any more.
func (p *Item) abandoned() bool { return p.ctx.Err() != nil }

// fail ends an item without an outcome.
func (p *Item) fail(err error) { p.once.Do(func() { p.done <- err }) }

func (p *Item) encoded() []byte { return p.Body }

// UserError is what a job says about one user.
type UserError struct {
	User struct {
		UserID string `json:"user_id"`
		Email  string `json:"email"`
	} `json:"user"`
	Errors []Complaint `json:"errors"`
}

// Complaint is one thing that is wrong with a user.
type Complaint struct {
	Code    string `json:"code"`
	Message string `json:"message"`
	Path    string `json:"path"`
}

// Text is all of it, for people.
func (e *UserError) Text() string {
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

// Has says whether a code is among the complaints.
func (e *UserError) Has(code string) bool {
	for _, x := range e.Errors {
		if x.Code == code {
			return true
		}
	}
	return false
}

// join brings what a job says together with the users it was about.
func join(load []*Item, errs []UserError) map[*Item]*UserError {
	byID, byEmail := map[string]*UserError{}, map[string]*UserError{}
	for i := range errs {
		e := &errs[i]
		id, email := strings.TrimPrefix(e.User.UserID, IDPrefix), strings.ToLower(e.User.Email)
		if same := byID[id]; id != "" && same != nil {
			same.Errors = append(same.Errors, e.Errors...)
			continue
		}
		byID[id] = e
		if email != "" {
			byEmail[email] = e
		}
	}
	said := map[*Item]*UserError{}
	for _, p := range load {
		if e := byID[p.ID]; e != nil {
			said[p] = e
		} else if e := byEmail[p.Email]; p.Email != "" && e != nil {
			said[p] = e
		}
	}
	return said
}
