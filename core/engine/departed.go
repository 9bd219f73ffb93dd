package engine

import (
	"context"
	"strings"
	"sync"

	"github.com/stetl/stetl/core/pluginapi"
)

// departed knows the accounts that runs have made for people who have gone from the source
// since: whoever registers again under the same address meets the account of before.
type departed struct {
	journal Journal
	removed []string // ids in the source

	once   sync.Once
	failed error
	// people are by the ids of their accounts in the target.
	people map[string]string
}

// name says so in each reject by a conflict whose words name such an account.
func (d *departed) name(ctx context.Context, changes []pluginapi.Change) error {
	if d.journal == nil || len(d.removed) == 0 {
		return nil
	}
	for i := range changes {
		c := &changes[i]
		if c.Action != pluginapi.Rejected || !conflictCodes[c.Code] {
			continue
		}
		d.once.Do(func() { d.failed = d.find(ctx) })
		if d.failed != nil {
			return d.failed
		}
		if person := d.holder(&c.Outcome); person != "" {
			c.Detail += "; a run has made that account for " + person + ", who is no longer in the source"
		}
	}
	return nil
}

// holder is the person whose account has what a user wants, empty where it is nobody who has
// gone. Plugins that do not say whose it is, name the account in their words.
func (d *departed) holder(o *pluginapi.Outcome) string {
	if o.Holder != "" {
		return d.people[o.Holder]
	}
	for word := range strings.FieldsFuncSeq(o.Detail, func(r rune) bool { return strings.ContainsRune(" ,;:()\"'", r) }) {
		if person, there := d.people[word]; there {
			return person
		}
	}
	return ""
}

func (d *departed) find(ctx context.Context) error {
	d.people = make(map[string]string, len(d.removed))
	for _, id := range d.removed {
		e, ok, err := d.journal.Get(ctx, id)
		if err != nil {
			return err
		}
		if ok && e.TargetID != "" && e.Ours() {
			d.people[e.TargetID] = id
		}
	}
	return nil
}
