package engine

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/journal"
	"github.com/stetl/stetl/core/pluginapi"
)

// decision is what is done about an account that the target was asked about.
type decision uint8

const (
	// leave: nothing is written, and the change is the outcome.
	leave decision = iota
	// write: it is sent, on the condition that it stays as it was found.
	write
	// adopt: it is another's so far and is taken over. It is asked about once more, as an
	// account that may be changed.
	adopt
)

// rules are what the operator has said about accounts that are in the target.
type rules struct {
	// adopt takes over accounts that no run has made, overwrite writes over what others
	// have changed since the last run.
	adopt, overwrite bool
	// planned has nothing be changed that is not as a saved plan has seen it.
	planned bool
}

// reconcile is the one place where it is decided what becomes of an account that may be
// in the target: for a plan, a saved plan, an update and an adoption alike. found is
// what the target has said about u, before what the journal holds of it; unchanged says
// that nothing has changed since. The outcome that is returned is what a plan shows;
// drifted says that somebody has changed the account since the last run.
func (r rules) reconcile(found pluginapi.Change, u *pluginapi.User, before *journal.Entry, unchanged bool) (d decision, c pluginapi.Change, drifted bool) {
	c = found
	writes := c.Action == pluginapi.Created || c.Action == pluginapi.Updated
	if !before.InDoubt && (unchanged || u.Existing == pluginapi.Update) { // else the change may be ours
		drifted = c.Action == pluginapi.Created && before.Ours() || slices.ContainsFunc(c.Fields, func(f pluginapi.FieldChange) bool { return f.Drift })
	}
	switch {
	case unchanged && c.Action != pluginapi.InDoubt:
		// A run would not look at it. The fields stay, for whoever wants to know.
		c.Action, c.Code, c.Detail, c.Hint = pluginapi.Unchanged, "", "", ""
		c.Fields = slices.Clone(c.Fields)
		for i := range c.Fields {
			c.Fields[i].Drift = true
		}
	case r.planned && c.Action == pluginapi.Rejected && conflictCodes[c.Code]:
		// It is kept from what another account has, and may get it later in the run.
	case r.planned && moved(&c, u):
		c.Action, c.Code, c.Detail = pluginapi.Rejected, diag.LoadMoved, "the account has changed in the target since the plan was made"
	case r.adopts(&c, u):
		return adopt, c, false
	case drifted && !r.overwrite:
		c.Action, c.Code, c.Detail = pluginapi.Skipped, diag.LoadDrift, driftText(&c)
	case writes && c.Action == pluginapi.Created && before.InDoubt:
		// It may still come to light there, so it is not said to be created.
		c.Action, c.Code, c.Detail = pluginapi.InDoubt, diag.LoadUnknownAnswer, "an earlier run has sent it and got no answer, and it is not in the target now; the next run looks it up, and creates it if it is still missing"
		return write, c, drifted
	case writes:
		return write, c, drifted
	}
	return leave, c, drifted
}

// adopts says whether an account that no run has written is to be taken over: one that
// differs, or of which nobody can tell whether it does.
func (r rules) adopts(c *pluginapi.Change, u *pluginapi.User) bool {
	return r.adopt && u.Existing != pluginapi.Update &&
		(c.Action == pluginapi.Skipped && c.Code == diag.LoadExistsDiffers || c.Unread())
}

// moved says whether an account is not as the plan has seen it.
func moved(c *pluginapi.Change, u *pluginapi.User) bool {
	if c.Action == pluginapi.Unchanged && u.Expect == nil {
		return false // the plan saw none, and it is there as it should be
	}
	return !bytes.Equal(u.Expect, c.State)
}

func driftText(c *pluginapi.Change) string {
	if c.Action == pluginapi.Created {
		return "the account was deleted in the target"
	}
	var names []string
	for _, f := range c.Fields {
		if f.Drift {
			names = append(names, f.Field)
		}
	}
	return fmt.Sprintf("changed in the target since the last run: %v", names)
}
