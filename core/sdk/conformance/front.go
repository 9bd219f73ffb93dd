package conformance

import (
	"net/http"
	"sync"
)

// Front stands before the test server of a target. It counts the requests that can
// change something and, while a rule asks for it, disturbs them: it throttles, it lets nobody
// in, it cuts connections after the work is done, and it ends everything at a request.
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
	dying   dying
}

// dying is when everything ends: at which request, and whether that one still arrives.
type dying struct {
	at      int
	arrives bool
	end     func()
}

type fault int

const (
	none fault = iota
	throttle
	cutOff
	deny
	death
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
	n, dying := f.seen, f.dying
	if mutating {
		f.mutated++
	}
	f.mu.Unlock()
	switch {
	case fault == deny:
		http.Error(w, "who are you?", http.StatusUnauthorized)
	case fault == death && n >= dying.at:
		if dying.arrives && mutating && n == dying.at {
			f.next.ServeHTTP(nowhere{http.Header{}}, r)
		}
		dying.end()
		panic(http.ErrAbortHandler)
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

// kill has everything end at the nth request that can change something, which still arrives
// or not: end is called, and nothing is answered from then on. The function that it returns
// ends that, and says whether there was such a request.
func (f *Front) kill(n int, arrives bool, end func()) (restore func() bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fault, f.seen, f.dying = death, 0, dying{n, arrives, end}
	return func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.fault, f.dying = none, dying{}
		return f.seen >= n
	}
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
