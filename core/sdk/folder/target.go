package folder

import (
	"context"
	"sync"

	"github.com/stetl/stetl/core/sdk"
	"github.com/stetl/stetl/core/sdk/reconcile"
)

// Writer is what one format of files needs beside what [Target] does. T is what a user
// becomes.
type Writer[T any] interface {
	// Decide says what becomes of a user. Claims are of the plan or of the load, for
	// identifiers that no two users may have.
	Decide(u *sdk.User, claims *reconcile.Claims) (T, sdk.Outcome)
	// Write takes every user with its outcome, and writes those that are Created.
	Write(u *sdk.User, record T, o sdk.Outcome) error
	// Complete writes what comes after the users. All files are closed then.
	Complete() error
}

// Target writes a [Folder], as every target of files does: a plugin embeds it. It is safe
// for concurrent use, and its Writer is called by one at a time.
type Target[T any] struct {
	Folder *Folder
	writer Writer[T]

	mu               sync.Mutex
	planned, loading *reconcile.Claims
	users            int
}

// NewTarget returns a target that has written nothing.
func NewTarget[T any](f Folder, w Writer[T]) *Target[T] {
	return &Target[T]{Folder: &f, writer: w, planned: reconcile.NewClaims(), loading: reconcile.NewClaims()}
}

// Check implements [sdk.Checker].
func (t *Target[T]) Check(context.Context, sdk.Needs) sdk.Diagnostics { return t.Folder.Check() }

// Plan implements [sdk.Planner]. A folder has no accounts to compare with.
func (t *Target[T]) Plan(_ context.Context, users []sdk.User, out sdk.Changes) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := range users {
		_, o := t.writer.Decide(&users[i], t.planned)
		out.Report(sdk.Change{Outcome: o})
	}
	return nil
}

// Load implements [sdk.Target]. Nothing counts before Finish.
func (t *Target[T]) Load(ctx context.Context, users []sdk.User, out sdk.Outcomes) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.Folder.Start(); err != nil {
		return err
	}
	for i := range users {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		record, o := t.writer.Decide(&users[i], t.loading)
		if err := t.writer.Write(&users[i], record, o); err != nil {
			return t.Folder.Failed(err)
		}
		if o.Action == sdk.Created {
			t.users++
		}
		out.Report(o)
	}
	return nil
}

// Finish implements [sdk.Finisher]. A run that loaded nobody leaves the folder alone.
func (t *Target[T]) Finish(context.Context) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.Folder.Started() {
		return nil
	}
	if err := t.writer.Complete(); err != nil {
		return t.Folder.Failed(err)
	}
	return t.Folder.Commit(t.users)
}

// Close implements [sdk.Closer]: what was not finished disappears.
func (t *Target[T]) Close(context.Context) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.Folder.Discard()
}
