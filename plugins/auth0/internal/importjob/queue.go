package importjob

import (
	"slices"
	"sync"
	"time"
)

// queue is where parcels wait until there are enough of them.
type queue struct {
	options Options
	busy    func() bool // a job is running

	mu      sync.Mutex
	lanes   [2]lane // new users, and changes
	last    int     // the lane that had its turn
	waiting int     // calls that wait for their parcels
}

// put takes the parcels of one call, which then waits until it says that it has left.
func (q *queue) put(parcels []*Parcel) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, p := range parcels {
		l := &q.lanes[0]
		if p.Upsert {
			l = &q.lanes[1]
		}
		l.Add(p)
		l.arrived = time.Now()
	}
	q.waiting++
}

func (q *queue) left() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.waiting--
}

// SetRoom says how many bytes the users of one job may take.
func (q *queue) SetRoom(bytes int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for i := range q.lanes {
		q.lanes[i].limit = bytes
	}
}

// Fits says whether a user fits into a job.
func (q *queue) Fits(body []byte) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(body) <= q.lanes[0].limit-2
}

// look returns the lane of which a job can be cut, the other one than last time where both
// have one, and if there is none, when to look again.
func (q *queue) look() (ready *lane, again time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for i := range q.lanes {
		turn := (q.last + 1 + i) % len(q.lanes)
		l := &q.lanes[turn]
		l.clean()
		if len(l.items) == 0 {
			continue
		}
		left := q.quiet() - time.Since(l.arrived)
		if l.Full(1) || q.waiting >= q.options.Calls || left <= 0 {
			q.last = turn
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
func (q *queue) quiet() time.Duration {
	if q.busy() {
		return usualPace * q.options.Poll
	}
	return q.options.Poll
}

// cut takes out one job, if what is there fills more than n.
func (q *queue) cut(l *lane, n int) []*Parcel {
	q.mu.Lock()
	defer q.mu.Unlock()
	l.clean()
	if !l.Full(n) {
		return nil
	}
	return l.Cut()
}

// restore takes back what was cut. It is sorted out and measured by clean.
func (q *queue) restore(l *lane, load []*Parcel) {
	q.mu.Lock()
	defer q.mu.Unlock()
	l.items = slices.Concat(load, l.items)
}

// lane is where parcels of one kind wait for a job.
type lane struct {
	Hold[*Parcel]
	upsert  bool
	arrived time.Time
}

// clean throws out parcels nobody waits for any more. Nothing of them was sent.
func (l *lane) clean() {
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
