package engine

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/pluginapi"
	"github.com/stetl/stetl/core/policy"
)

// limiter stops a run that would do, or has met, more than the limits allow.
type limiter struct {
	limits policy.Limits
	// accepted are reasons that count for no failure, total is what shares are of.
	accepted []diag.Code
	total    int

	mu        sync.Mutex
	adopted   int
	updated   int
	failed    int
	recent    []bool // ring of the last outcomes, true for failures
	at, count int
	// first are the outcomes of those that were asked about first, until one of them is
	// another than the others.
	first firstOnes
}

// firstOnes notice that a run has begun with nothing but one failure: then the cause is
// the target or the configuration, and no account.
type firstOnes struct {
	over bool
	code diag.Code
	n    int
}

// add takes an outcome in, and says whether that many have failed alike.
func (f *firstOnes) add(bad bool, code diag.Code) bool {
	if f.over || !bad || f.n > 0 && code != f.code {
		f.over = true
		return false
	}
	f.code = code
	f.n++
	return f.n >= policy.AlikeFailures
}

// newLimiter is for a run about total accounts, of which settled are as the last run left
// them: then target and configuration have worked, and what is left may all be refused alike.
func newLimiter(p *policy.Policies, total, settled int) *limiter {
	l := &limiter{limits: p.Limits, accepted: p.Skip, total: total, first: firstOnes{over: settled > 0}}
	if n := p.Limits.Failures.Count; n > 0 {
		l.recent = make([]bool, max(cmp.Or(p.Limits.Window, 1000), n))
	}
	return l
}

// before checks what is known before the first write.
func (l *limiter) before(updates, resets, mails, stranded, gone int) error {
	leaving := l.limits.Gone
	leaving.Set = true // without a limit it is none
	for _, c := range []struct {
		what  string
		n     int
		limit policy.Limit
	}{
		{"accounts would be updated", updates, l.limits.Updates},
		{"accounts would need a new password", resets, l.limits.Resets},
		{"people would be mailed by the target", mails, l.limits.Mails},
		{"people would have no way to sign in", stranded, l.limits.Stranded},
		{"accounts of people who have gone from the source would be switched off or deleted (limits.gone)", gone, leaving},
	} {
		if most, set := c.limit.Of(l.total); set && c.n > most {
			return fmt.Errorf("%w: %d %s, the limit is %d; nothing was written", ErrLimit, c.n, c.what, most)
		}
	}
	return nil
}

// adopt asks whether n more accounts may be adopted.
func (l *limiter) adopt(n int) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	most, set := l.limits.Adoptions.Of(l.total)
	if set && l.adopted+n > most {
		return fmt.Errorf("%w: more than %d accounts that are already in the target would be adopted", ErrLimit, most)
	}
	l.adopted += n
	return nil
}

// update asks whether n more accounts that runs have loaded may be changed. It
// matters where the number was not known beforehand.
func (l *limiter) update(n int) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	most, set := l.limits.Updates.Of(l.total)
	if set && l.updated+n > most {
		return fmt.Errorf("%w: more than %d accounts would be updated; %d were updated before that", ErrLimit, most, l.updated)
	}
	l.updated += n
	return nil
}

// after notes the outcomes of a batch and says when too many of the last ones, or all of
// the first, are failures.
func (l *limiter) after(changes []pluginapi.Change) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range changes {
		bad := (c.Action == pluginapi.Rejected || c.Action == pluginapi.InDoubt) && !slices.Contains(l.accepted, c.Code)
		if l.recent != nil {
			l.note(bad)
		}
		if c.Code == diag.LoadUndecided {
			continue // the plugin gave up, for a cause that stops the run with better words
		}
		if l.first.add(bad, c.Code) {
			return fmt.Errorf("%w: all of the first %d accounts end with %s, for example: %s", ErrLimit, l.first.n, c.Code, strings.TrimSuffix(cmp.Or(c.Detail, "no detail")+"; "+c.Hint, "; "))
		}
		if bad {
			l.failed++
		}
	}
	if l.recent != nil && l.count >= l.limits.Failures.Count {
		return fmt.Errorf("%w: %d of the last %d accounts were refused or are in doubt", ErrLimit, l.count, len(l.recent))
	}
	if most, set := l.limits.Share(l.total); set && l.failed > most {
		return fmt.Errorf("%w: %d of %d accounts were refused or are in doubt, which is more than limits.failures allows", ErrLimit, l.failed, l.total)
	}
	return nil
}

// note adds an outcome to the last ones.
func (l *limiter) note(bad bool) {
	if l.recent[l.at] {
		l.count--
	}
	l.recent[l.at] = bad
	if bad {
		l.count++
	}
	l.at = (l.at + 1) % len(l.recent)
}
