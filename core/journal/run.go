package journal

import (
	"context"
	"encoding/json"
	"time"

	"github.com/stetl/stetl/core/pluginapi"
)

// Run is one run of the program that wrote.
type Run struct {
	ID int64
	// Source, Target and Program are for people.
	Source, Target, Program string
	// Settings digests what, beside an account itself, decides what it becomes;
	// empty for a run that was restricted to some accounts.
	Settings []byte
	// Reading digests what decides which accounts the source has: an account that another
	// reading does not hold is not known to have gone.
	Reading []byte
	Began   time.Time
	// Ended is zero for a run that is at work or was killed.
	Ended time.Time
	// Result is what the run reported, as JSON.
	Result json.RawMessage
}

// Runs are the runs of one scope.
type Runs struct {
	RunWriter
	RunReader
	Pace
}

// RunWriter notes runs.
type RunWriter interface {
	// Begin notes a new run and returns its id.
	Begin(begun Run) (int64, error)
	// End notes how a run ended; result becomes JSON.
	End(id int64, at time.Time, result any) error
	// Doubt puts the accounts that a run has written in doubt: its last step at the target
	// has failed. What is known of them stays, so that they can be found.
	Doubt(run int64) error
}

// RunReader knows earlier runs.
type RunReader interface {
	// Last returns the latest run that ended, or with unfinished the latest at all; false
	// when there is none.
	Last(ctx context.Context, unfinished bool) (Run, bool, error)
	// List returns the latest runs, the newest first, at most that many.
	List(ctx context.Context, most int) ([]Run, error)
	// Settings returns those of the latest run over all accounts that came to its end; nil
	// when there is none.
	Settings(ctx context.Context) ([]byte, error)
	// Readings are those of all runs, by their ids. A run of a program that did not note it
	// has none.
	Readings(ctx context.Context) (map[int64][]byte, error)
}

// Sample is how many accounts a run had dealt with at a moment.
type Sample struct {
	At   time.Time
	Done int
}

// Pace is how fast runs were.
type Pace interface {
	// AddSample notes the progress of a run, for the throughput in its report.
	AddSample(run int64, sample Sample) error
	// Samples returns the progress of a run in order of time.
	Samples(ctx context.Context, run int64) ([]Sample, error)
}

// Reason is why an account was not loaded, or not as a whole, in words. They can be the
// target's own and hold personal data, so they are kept like pre-images: encrypted.
type Reason struct {
	Detail string `json:"detail"`
	Hint   string `json:"hint,omitempty"`
	// Losses are parts that the target did not take of an account that is there.
	Losses []pluginapi.PartLoss `json:"losses,omitempty"`
	// Run is the run that has said so.
	Run int64 `json:"run"`
}

// Payload is an account as it was when it was not loaded. The journal gets it
// encrypted to keys that it does not have.
type Payload struct {
	// Digest tells the account from what it is later.
	Digest    []byte
	Encrypted []byte
}

// Rejects are accounts that were not loaded, or not as a whole: why, and where that is
// wanted, what they were.
type Rejects interface {
	// KeepReasons remembers why accounts were not loaded, or not as a whole, in place of
	// earlier reasons.
	KeepReasons(reasons map[string]Reason) error
	// Reason returns why an account was not loaded, or not as a whole; false when nobody has
	// said.
	Reason(ctx context.Context, sourceID string) (Reason, bool, error)
	// KeepPayloads remembers accounts that were not loaded, in place of what is there of
	// them, and forgets those that have been loaded since.
	KeepPayloads(payloads map[string]Payload) error
	// Payload returns an account as it was when it was not loaded; false when it was not
	// kept.
	Payload(ctx context.Context, sourceID string) (Payload, bool, error)
}

// Saved is what the plugin of a target keeps from run to run.
type Saved interface {
	// Saved returns what earlier runs saved.
	Saved(ctx context.Context) (map[string][]byte, error)
	// Save keeps a value under a key, which is durable when it returns nil. A nil value
	// removes the key.
	Save(ctx context.Context, key string, value []byte) error
}
