package groupcommit

import (
	"errors"
	"sync"
)

// most bounds how many jobs share a transaction.
const most = 64

// ErrClosed is returned for a job that comes after Close.
var ErrClosed = errors.New("the journal is closed")

// Queue hands jobs that come at the same time to one commit. Its methods are safe for
// concurrent use.
type Queue[J any] struct {
	work chan J
	done chan struct{}

	mu     sync.RWMutex
	closed bool
}

// New starts a queue. Commit is called with one to 64 jobs, in the order in which they were
// added, and never for two transactions at a time.
func New[J any](commit func(jobs []J)) *Queue[J] {
	q := &Queue[J]{work: make(chan J, most), done: make(chan struct{})}
	go q.run(commit)
	return q
}

// Add adds a job. It waits while the queue is full. The error is [ErrClosed].
func (q *Queue[J]) Add(j J) error {
	q.mu.RLock()
	defer q.mu.RUnlock()
	if q.closed {
		return ErrClosed
	}
	q.work <- j
	return nil
}

func (q *Queue[J]) run(commit func([]J)) {
	defer close(q.done)
	for first := range q.work {
		jobs := []J{first}
	collect:
		for len(jobs) < most {
			select {
			case j, ok := <-q.work:
				if !ok {
					break collect
				}
				jobs = append(jobs, j)
			default:
				break collect
			}
		}
		commit(jobs)
	}
}

// Close returns when all jobs that were added are committed. It says whether it is the first
// call.
func (q *Queue[J]) Close() (first bool) {
	q.mu.Lock()
	first = !q.closed
	q.closed = true
	q.mu.Unlock()
	if first {
		close(q.work)
	}
	<-q.done
	return first
}
