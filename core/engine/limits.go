package engine

import (
	"cmp"
	"fmt"
	"slices"
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
	recent    []bool // ring of the last outcomes, true for failures
	at, count int
}

func newLimiter(p *policy.Policies, total int) *limiter {
	l := &limiter{limits: p.Limits, accepted: p.Skip, total: total}
	if n := p.Limits.Failures; n > 0 {
		l.recent = make([]bool, max(cmp.Or(p.Limits.Window, 1000), n))
	}
	return l
}

// before checks what is known before the first write.
func (l *limiter) before(updates, resets, mails int) error {
	for _, c := range []struct {
		what  string
		n     int
		limit policy.Limit
	}{
		{"accounts would be updated", updates, l.limits.Updates},
		{"accounts would need a new password", resets, l.limits.Resets},
		{"people would be mailed by the target", mails, l.limits.Mails},
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
		return fmt.Errorf("%w: more than %d accounts would be updated, which were %d so far", ErrLimit, most, l.updated)
	}
	l.updated += n
	return nil
}

// after notes the outcomes of a batch and says when too many of the last ones are
// failures.
func (l *limiter) after(changes []pluginapi.Change) error {
	if l.recent == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range changes {
		bad := (c.Action == pluginapi.Rejected || c.Action == pluginapi.InDoubt) && !slices.Contains(l.accepted, c.Code)
		if l.recent[l.at] {
			l.count--
		}
		l.recent[l.at] = bad
		if bad {
			l.count++
		}
		l.at = (l.at + 1) % len(l.recent)
	}
	if l.count >= l.limits.Failures {
		return fmt.Errorf("%w: %d of the last %d accounts were refused or are in doubt", ErrLimit, l.count, len(l.recent))
	}
	return nil
}
