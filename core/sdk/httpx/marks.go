package httpx

import (
	"context"
	"sync/atomic"
)

// marks are what a caller says of the requests under a context.
type marks struct {
	retryable, once, paced, stream bool
	weight                         int
	trace                          *Trace // nil without one
}

type marksKey struct{}

func marksOf(ctx context.Context) marks {
	m, ok := ctx.Value(marksKey{}).(marks)
	if !ok {
		m.weight = 1
	}
	return m
}

// mark adds to what is said.
func mark(ctx context.Context, add func(*marks)) context.Context {
	m := marksOf(ctx)
	add(&m)
	return context.WithValue(ctx, marksKey{}, m)
}

// Retryable marks requests under ctx as ones that can be repeated without harm,
// whatever their method: a search that is a POST, for example.
func Retryable(ctx context.Context) context.Context {
	return mark(ctx, func(m *marks) { m.retryable = true })
}

// Once marks requests under ctx as ones whose first answer counts, even a 429, because
// their caller has a policy of its own. What certainly never arrived is still tried
// again. How long they take says nothing about the target: they may be large.
func Once(ctx context.Context) context.Context {
	return mark(ctx, func(m *marks) { m.once = true })
}

// Paced marks requests under ctx whose caller decides how many are under way. They wait
// only while the target asks to, and say nothing about how many it can take.
func Paced(ctx context.Context) context.Context {
	return mark(ctx, func(m *marks) { m.paced = true })
}

// Stream marks requests under ctx whose answers are too large to be held in memory.
// Else an answer is read whole before it is given, because one that breaks off is
// none: the request can then be tried again like one that was not answered.
func Stream(ctx context.Context) context.Context {
	return mark(ctx, func(m *marks) { m.stream = true })
}

// Weight marks requests under ctx as worth so many: a request with many operations
// counts like each of them under [Options].Rate. Less than 1 is 1.
func Weight(ctx context.Context, n int) context.Context {
	return mark(ctx, func(m *marks) { m.weight = max(n, 1) })
}

// Trace tells of the attempts that the answer of a request does not show.
type Trace struct{ doubtful atomic.Bool }

// WithTrace returns a context whose requests are traced.
func WithTrace(ctx context.Context) (context.Context, *Trace) {
	t := &Trace{}
	return mark(ctx, func(m *marks) { m.trace = t }), t
}

// Doubtful reports whether an attempt may have been carried out of which there is no
// clear answer, though a later one may have got one: what that one calls a conflict may
// be the work of the first.
func (t *Trace) Doubtful() bool { return t.doubtful.Load() }

// note takes in such an attempt. Nil takes none.
func (t *Trace) note() {
	if t != nil {
		t.doubtful.Store(true)
	}
}
