package journal

import (
	"time"

	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/pluginapi"
)

// Origin says how an account of the target came to be in the journal.
type Origin string

// The origins.
const (
	// Unclear: nothing is known to be there, or nobody knows whose it is.
	Unclear Origin = ""
	// Made: a run created it, so an undo may delete it.
	Made Origin = "made"
	// Adopted: it was there before and a run has updated it, so an undo puts its
	// pre-image back.
	Adopted Origin = "adopted"
	// Found: it was there before, and equal. It is not ours to touch.
	Found Origin = "found"
)

// Entry is what the journal knows of one account.
type Entry struct {
	SourceID  string // the source's internal id
	VisibleID string // the id applications have stored
	TargetID  string
	// Action and Code are the last outcome; a first mark has InDoubt.
	Action pluginapi.Action
	Code   diag.Code
	Class  pluginapi.Class
	// Digest is that of the user as it was last sent.
	Digest []byte
	// SignIn is what the account brings to sign in with, as [signin.Account] writes it: that
	// of the user as it was last given to the target.
	SignIn string
	// State is what the target said it was left in.
	State  []byte
	Origin Origin
	// InDoubt says that something was sent and no answer is recorded. What else the entry
	// says is from before.
	InDoubt bool
	Run     int64
	At      time.Time
	// DisabledAt is when a run has switched the account off, as its person had gone from the
	// source; zero where none has, or it is on again.
	DisabledAt time.Time
	// Before is the pre-image of an update. It is written encrypted and not read
	// back by [Listing.Accounts]; see [Finder.Before]. An empty one, which is not nil, takes
	// away the one that is there.
	Before []byte
	// Anew has Before take the place of a pre-image that is there.
	Anew bool
}

// What an entry says about its account is asked here and nowhere else. Where a database has
// to know the answer as well, the condition stands beside the method, and a test compares
// the two over all entries there can be.

// InTarget says that the account is in the target, as far as the journal knows: a run has
// made it, changed it, or found it there as it should be.
func (e *Entry) InTarget() bool { return e.Origin != Unclear }

// SQLInTarget is the condition for it.
const SQLInTarget = `origin <> ''`

// Ours says that a run has written the account that is in the target: later runs keep it
// up to date, and an undo takes it back.
func (e *Entry) Ours() bool { return e.Origin == Made || e.Origin == Adopted }

// Theirs says that the account was in the target before anything was sent, as the last look
// at it has shown, and that no run has written it. That it was sent again and no answer
// came makes it no account of a run's.
func (e *Entry) Theirs() bool {
	return e.Origin == Found || e.Origin == Unclear && e.TargetID != "" && e.Action == pluginapi.Skipped && e.Code == diag.LoadExistsDiffers
}

// Outcome is the last one. What was sent and has no answer is in doubt, whatever became
// of it before.
func (e *Entry) Outcome() pluginapi.Action {
	if e.InDoubt {
		return pluginapi.InDoubt
	}
	return e.Action
}

// Open says that somebody has something to do about the account: the last run that dealt
// with it has not loaded it, or does not know whether it has.
func (e *Entry) Open() bool {
	o := e.Outcome()
	return o == pluginapi.Rejected || o == pluginapi.InDoubt
}

// SQLOpen is the condition for it.
const SQLOpen = `(in_doubt OR action IN ('rejected', 'in_doubt'))`

// Located says that TargetID is the id of the account in which the person is at home
// now, also where no run has written it.
func (e *Entry) Located() bool {
	return e.TargetID != "" && !e.InDoubt && (e.InTarget() || e.Action != pluginapi.Rejected)
}

// Known is what a later run wants to know of every account.
type Known struct {
	SourceID string
	// Digest is that of the user as it was last sent, valid until the next account is
	// asked for.
	Digest []byte
	// InTarget is the answer of [Entry.InTarget], InDoubt the field of [Entry].
	InTarget, InDoubt bool
}

// Known returns of an entry what [Listing.Known] yields.
func (e *Entry) Known() Known {
	return Known{SourceID: e.SourceID, Digest: e.Digest, InTarget: e.InTarget(), InDoubt: e.InDoubt}
}
