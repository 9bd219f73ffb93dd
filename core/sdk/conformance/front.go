package conformance

import (
	"net/http"
	"sync"
)

// Front stands before the test server of a target. It counts the requests that can
// change something and, while a rule asks for it, disturbs them: it throttles, it lets nobody
// in, and it cuts connections after the work is done.
//
//	front := conformance.NewFront(api)
//	server := httptest.NewServer(front)
//	conformance.Test(t, conformance.Suite{Start: …(server.URL), Front: front})
type Front struct {
	next http.Handler

	mu      sync.Mutex
	fault   fault
	seen    int
	mutated int
	all     int
}

type fault int

const (
	none fault = iota
	throttle
	cutOff
	deny
)

// NewFront returns a handler that passes everything on to next.
func NewFront(next http.Handler) *Front { return &Front{next: next} }

// ServeHTTP implements [http.Handler].
func (f *Front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	mutating := r.Method != http.MethodGet && r.Method != http.MethodHead && r.Method != http.MethodOptions
	f.mu.Lock()
	f.all++
	fault := f.fault
	if fault == throttle || mutating {
		f.seen++
	}
	n := f.seen
	if mutating {
		f.mutated++
	}
	f.mu.Unlock()
	switch {
	case fault == deny:
		http.Error(w, "who are you?", http.StatusUnauthorized)
	case fault == throttle && n%3 == 0:
		w.Header().Set("Retry-After", "0")
		http.Error(w, "too many requests", http.StatusTooManyRequests)
	case fault == cutOff && mutating && n%2 == 0:
		f.next.ServeHTTP(nowhere{http.Header{}}, r)
		panic(http.ErrAbortHandler) // the way to cut a connection
	default:
		f.next.ServeHTTP(w, r)
	}
}

// disturb starts a fault and returns what ends it.
func (f *Front) disturb(what fault) (restore func()) {
	set := func(what fault) {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.fault, f.seen = what, 0
	}
	set(what)
	return func() { set(none) }
}

// writes is how many requests could have changed something; 0 where nobody counts.
func (f *Front) writes() int {
	if f == nil {
		return 0
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.mutated
}

// requests is how many there were; 0 where nobody counts.
func (f *Front) requests() int {
	if f == nil {
		return 0
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.all
}

// nowhere takes an answer that never arrives.
type nowhere struct{ header http.Header }

// Header implements [http.ResponseWriter].
func (n nowhere) Header() http.Header { return n.header }

// Write throws p away.
func (n nowhere) Write(p []byte) (int, error) { return len(p), nil }

// WriteHeader does nothing.
func (n nowhere) WriteHeader(int) {}
