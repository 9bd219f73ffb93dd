package engine

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stetl/stetl/core/canonical"
	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/journal"
	"github.com/stetl/stetl/core/pluginapi"
	"github.com/stetl/stetl/core/policy"
)

// counting counts how often a source is read.
type counting struct {
	Source
	reads int
}

func (c *counting) Accounts(ctx context.Context, emit func([]canonical.User) error) error {
	c.reads++
	return c.Source.Accounts(ctx, emit)
}

// Once everybody has been moved, one reading of the source is enough, and who could
// not be moved is told the same as before.
func TestLaterRunsReadTheSourceOnce(t *testing.T) {
	t.Parallel()
	for name, collision := range map[string]policy.Collision{
		"reject": {}, "suffix": {Username: policy.Suffix, Email: policy.Drop}, "skip": {Username: policy.Skip},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, dst, src := newProject(t), newIDP(), append(pair(true), people(23)[4:]...)
			with := func(o *Options) {
				o.Policies.Collision = collision
				o.Policies.Limits.Updates = policy.Limit{Set: true}
			}
			_, first, err := p.do(src, dst, with)
			if err != nil {
				t.Fatal(err)
			}
			writes, batches, again := dst.writes, dst.batches, &counting{Source: src}
			res, seen, err := p.do(again, dst, with)
			if err != nil || again.reads != 1 || dst.writes != writes || dst.batches != batches || res.Summary.Read != 23 {
				t.Errorf("%+v, %v: %d readings, %d writes, %d batches", res.Summary, err, again.reads, dst.writes-writes, dst.batches-batches)
			}
			if collision.Username != policy.Suffix {
				// Where people sign in to the account that keeps the name is said when it came by.
				first, seen := first[id(3)], seen[id(3)]
				first.Detail, _, _ = strings.Cut(first.Detail, " (that one: ")
				if diff := cmp.Diff(first.Outcome, seen.Outcome); diff != "" || first.Code != diag.MapDuplicateUsername {
					t.Errorf("who lost (-first +second):\n%s", diff)
				}
			}
			// What changes is still found, the winner's loss of its name included.
			changed := rename(rename(src, 1, "another@example.org"), 7, "new@example.org")
			res, _, err = p.do(&counting{Source: changed}, dst, func(o *Options) { o.Policies.Collision = collision })
			want := pluginapi.Summary{Read: 23, Updated: 2, Unchanged: 20, Created: 1}
			if collision.Username == policy.Suffix {
				want = pluginapi.Summary{Read: 23, Updated: 3, Unchanged: 20}
			}
			if err != nil || res.Summary != want {
				t.Errorf("delta: %+v, %v; want %+v", res.Summary, err, want)
			}
		})
	}
}

// The journal is walked through beside the source, so what is out of order would be
// taken for new and loaded twice.
func TestSourceOutOfOrderIsRefused(t *testing.T) {
	t.Parallel()
	p, dst, src := newProject(t), newIDP(), people(9)
	if _, _, err := p.do(src, dst, nil); err != nil {
		t.Fatal(err)
	}
	writes := dst.writes
	src[2], src[7] = src[7], src[2]
	if _, _, err := p.do(src, dst, nil); err == nil || !strings.Contains(err.Error(), "account "+id(3)+" comes after account "+id(7)) || dst.writes != writes {
		t.Errorf("%v, %d writes", err, dst.writes-writes)
	}
}

// Who is first, last or in between of those who have gone is listed.
func TestRemovedAreListed(t *testing.T) {
	t.Parallel()
	p, dst, src := newProject(t), newIDP(), people(9)
	if _, _, err := p.do(src, dst, nil); err != nil {
		t.Fatal(err)
	}
	left := slices.Concat(src[1:4], src[5:8])
	res, _, err := p.do(left, dst, nil)
	want := pluginapi.Summary{Read: 6, Unchanged: 6}
	if diff := cmp.Diff([]string{id(0), id(4), id(8)}, res.Removed); err != nil || diff != "" || res.Summary != want {
		t.Errorf("%v, %+v (-want +got):\n%s", err, res.Summary, diff)
	}
}

// Who was rejected and has gone from the source is forgotten by a run about everybody: there
// is nothing to correct any more. Who may be in the target stays known.
func TestRejectedAndGoneAreForgotten(t *testing.T) {
	t.Parallel()
	p, dst, src := newProject(t), newIDP(), people(6)
	dst.accounts[id(4)] = "theirs" // which leaves the user out
	if res, _, err := p.do(src, dst, nil); err != nil || res.Summary.Skipped != 1 {
		t.Fatalf("%+v, %v", res.Summary, err)
	}
	knows := func(what string, want int) {
		t.Helper()
		p.with(func(s *journal.Scope, _ Options) {
			n := 0
			for range s.Accounts(t.Context()) {
				n++
			}
			if n != want {
				t.Errorf("%s: %d accounts are known, want %d", what, n, want)
			}
		})
	}
	left := slices.Concat(src[:4], src[5:])
	if _, _, err := p.do(left, dst, func(o *Options) { o.DryRun = true }); err != nil {
		t.Fatal(err)
	}
	knows("after a dry run", 6)
	if res, _, err := p.do(left[1:], dst, nil); err != nil || len(res.Removed) != 1 {
		t.Fatalf("%+v, %v", res.Removed, err)
	}
	knows("after a run", 5)
}

// What is counted is what is sent: not whom a policy keeps out or makes one with
// another, but also an account that was as it should be until it lost its name to a new
// one, or was made one with it.
func TestCountsKnowWhoKeepsWhat(t *testing.T) {
	t.Parallel()
	drop := policy.Collision{Username: policy.Suffix, Email: policy.Drop}
	for name, tt := range map[string]struct {
		collision           policy.Collision
		earlier             []int // of the two, who were loaded before
		sent, reset, mailed int
		noEmail             int
	}{
		"reject":              {sent: 1, reset: 1, mailed: 1},
		"reject one who was":  {earlier: []int{3}, sent: 1, reset: 1, mailed: 1},
		"suffix":              {collision: drop, sent: 2, reset: 2, mailed: 1, noEmail: 1},
		"suffix one who was":  {collision: drop, earlier: []int{3}, sent: 2, reset: 2, mailed: 1, noEmail: 1},
		"suffix as before":    {collision: drop, earlier: []int{1, 3}},
		"link":                {collision: policy.Collision{Username: policy.Link}, sent: 1, reset: 1, mailed: 1},
		"link to one who was": {collision: policy.Collision{Username: policy.Link}, earlier: []int{1}, sent: 1, reset: 1},
		"linked as before":    {collision: policy.Collision{Username: policy.Link}, earlier: []int{1, 3}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			src := pair(true)
			for i := range src { // which this target cannot verify
				src[i].Logins[0].Password = canonical.ParsePasswordHash("$2a$11$0123456789012345678901234567890123456789012345678901")
			}
			p, f, earlier := newProject(t), newFake(), listed{}
			f.caps.Carries, f.mails = []pluginapi.Feature{pluginapi.CarriesTenants, pluginapi.CarriesIdentities}, []pluginapi.Mailing{pluginapi.MailsCreated}
			with := func(o *Options) { o.Policies.Collision = tt.collision }
			for _, n := range tt.earlier {
				earlier = append(earlier, src[n])
			}
			if len(earlier) > 0 {
				if _, _, err := p.do(earlier, f, with); err != nil {
					t.Fatal(err)
				}
			}
			for _, dry := range []bool{true, false} {
				res, _, err := p.do(listed{src[1], src[3]}, f, func(o *Options) { with(o); o.DryRun = dry })
				got := []int{f.needs.Users, f.needs.Resets, f.needs.WithoutEmail, res.Mailed}
				if want := []int{tt.sent, tt.reset, tt.noEmail, tt.mailed}; err != nil || !slices.Equal(got, want) {
					t.Errorf("dry %v: sent, to be reset, without address and mailed are %v, want %v; %v", dry, got, want, err)
				}
			}
		})
	}
}
