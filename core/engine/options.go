package engine

import (
	"context"
	"time"

	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/mapping"
	"github.com/stetl/stetl/core/pluginapi"
	"github.com/stetl/stetl/core/policy"
	"github.com/stetl/stetl/core/signin"
)

// Options of a run.
type Options struct {
	// DryRun plans instead of loading. Nothing is written anywhere.
	DryRun bool
	// Journal remembers what earlier runs did; nil forgets it all. Run is the id of
	// this run in it, and Key keys the digests.
	Journal Journal
	Run     int64
	Key     []byte
	// Mapping turns accounts into users of the target; nil is the usual mapping.
	Mapping *mapping.Rules
	// Broker is the bridge, which [Check] has the target compare with what it has; nil where
	// there is none.
	Broker *pluginapi.Broker
	// Roles are those of the source that allow something or nothing, by name, and DefineRoles,
	// when set, tells the target what those of them allow that somebody has. It is called
	// once, before the target is examined, and only if the target keeps it.
	Roles       []pluginapi.Role
	DefineRoles func(context.Context, []pluginapi.Role) error
	// Plugin is the name of the target's plugin, for what is said about it.
	Plugin string
	// Digest, when set, is called for every account that is planned, with the digest
	// of the user it would be, before its outcome is known.
	Digest func(sourceID string, digest []byte)
	// Full compares every account with the target, also where nothing has changed
	// since the last run: the settings have, or somebody wants to be sure.
	Full bool
	// All has [Verify] count everybody who is not the same on both sides: accounts of the
	// source that no run has loaded, unless the operator's filter or policies leave them out,
	// and accounts that runs have loaded and that are not in the source any more.
	All bool
	// Policies decide what may happen; the zero value changes nothing that a run
	// did not make.
	Policies policy.Policies
	// Plan, when set, is executed to the letter: accounts that it does not hold, or
	// that have changed since, are left alone.
	Plan *Plan
	// Part, when set, is who the run is about. All others are Skipped with
	// run.not_selected and left as they are, here and in the journal. Who keeps an
	// identifier that several accounts want is decided among all of them all the same.
	Part *Part
	// Departures is what is known of the reading, for [policy.Policies.Gone]. Nil follows nobody.
	Departures *Departures
	// ReadBack is how many of the accounts that the run has written one is read back
	// of and compared: 1 is every one, 0 none. A target that cannot be asked is not.
	ReadBack int
	// Different, when set, is called for every account that was read back and is not
	// as it was written.
	Different func(pluginapi.Change)
	// Canary proves before the load that passwords of every kind will work, where
	// the target can be asked.
	Canary Canary
	// Confirm, when set, is asked before the first write of a run, with what the run is
	// going to do. Its error ends the run, before anything is written.
	Confirm func(context.Context, Intent) error
	// Outcome, when set, is called for every user as its fate becomes known,
	// one call at a time, but not for all those that are as the last run left them, nor
	// for those that were not chosen. In a dry run it is the predicted one of every user
	// that was, with fields.
	Outcome func(pluginapi.Change)
	// SignIn, when set, is called for every account that a run has given to the target, and in
	// a dry run for every one that it would, with the ways to sign in that its person has;
	// one call at a time. A target whose plugin declares no ways has it never called.
	SignIn func(sourceID string, ways []signin.Way)
	// Progress, when set, is called now and then, one call at a time.
	Progress func(Progress)

	patience []time.Duration // a test's
}

// Departures is what the caller of a run knows of the reading, where people who have gone
// are to be followed.
type Departures struct {
	// Unproven says, once everybody has been read, why nobody is known to have gone from the
	// source; an empty code says that they are.
	Unproven func() (code diag.Code, why string)
	// SameReading says whether a run has chosen the accounts of the source as this one does.
	SameReading func(run int64) bool
	// Now is the time; nil is that of the clock.
	Now func() time.Time
}

// Intent is what a run is about to do to the target.
type Intent struct {
	// Accounts are those that the run has to do with, and Resets those of them who will
	// need a new password.
	Accounts, Resets int
	// Mailed are people whom the target is going to mail, and Stranded those who will have
	// no way to sign in.
	Mailed, Stranded int
}

// Progress is how far a run is.
type Progress struct {
	Phase Phase
	// Done counts users; Total is known once the survey is over.
	Done, Total int
}

// Phase is a stretch of a run.
type Phase string

// The phases in their order.
const (
	Choosing  Phase = "choose" // where it takes a look at every account to know who is chosen
	Surveying Phase = "survey"
	Checking  Phase = "check" // the target is asked whether it is ready; nobody counts
	Following Phase = "gone"  // accounts of people who have gone; nobody counts
	Proving   Phase = "prove" // canaries show that passwords work; nobody counts
	Planning  Phase = "plan"
	Loading   Phase = "load"
	Verifying Phase = "verify"
)
