package importjob

import (
	"slices"
	"sync"
	"time"
)

// backlog is where items wait until there are enough of them.
type backlog struct {
	options Options
	busy    func() bool // a job is running

	mu      sync.Mutex
	lines   [2]line // new users, and changes
	last    int     // the line that had its turn
	waiting int     // calls that wait for their items
}

// put takes the items of one call, which then waits until it says that it has left.
func (b *backlog) put(items []*Item) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, p := range items {
		l := &b.lines[0]
		if p.Upsert {
			l = &b.lines[1]
		}
		l.Add(p)
		l.arrived = time.Now()
	}
	b.waiting++
}

func (b *backlog) left() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.waiting--
}

// SetRoom says how many bytes the users of one job may take.
func (b *backlog) SetRoom(bytes int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := range b.lines {
		b.lines[i].limit = bytes
	}
}

// Fits says whether a user fits into a job.
func (b *backlog) Fits(body []byte) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(body) <= b.lines[0].limit-2
}

// look returns the line of which a job can be cut, the other one than last time where both
// have one, and if there is none, when to look again.
func (b *backlog) look() (ready *line, again time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := range b.lines {
		turn := (b.last + 1 + i) % len(b.lines)
		l := &b.lines[turn]
		l.clean()
		if len(l.items) == 0 {
			continue
		}
		left := b.quiet() - time.Since(l.arrived)
		if l.Full(1) || b.waiting >= b.options.Calls || left <= 0 {
			b.last = turn
			return l, 0
		}
		if left = max(left, time.Millisecond); again == 0 || left < again {
			again = left
		}
	}
	return nil, again
}

// quiet is how long nothing may come before a job is sent as it is. While another
// job runs, waiting costs little.
func (b *backlog) quiet() time.Duration {
	if b.busy() {
		return usualPace * b.options.Poll
	}
	return b.options.Poll
}

// cut takes out one job, if what is there fills more than n.
func (b *backlog) cut(l *line, n int) []*Item {
	b.mu.Lock()
	defer b.mu.Unlock()
	l.clean()
	if !l.Full(n) {
		return nil
	}
	return l.Cut()
}

// restore takes back what was cut. It is sorted out and measured by clean.
func (b *backlog) restore(l *line, load []*Item) {
	b.mu.Lock()
	defer b.mu.Unlock()
	l.items = slices.Concat(load, l.items)
}

// line is where items of one kind wait for a job.
type line struct {
	Buffer[*Item]
	upsert  bool
	arrived time.Time
}

// clean throws out items nobody waits for any more. Nothing of them was sent.
func (l *line) clean() {
	kept := l.items[:0]
	l.size = 0
	for _, p := range l.items {
		if !p.abandoned() {
			kept = append(kept, p)
			l.size += len(p.Body) + 1
		}
	}
	clear(l.items[len(kept):])
	l.items = kept
}
