package supertokens

import (
	"strconv"
	"testing"
)

func TestHolders(t *testing.T) {
	t.Parallel()
	h := newHolders()
	const one, two, three = "5aff9e5b-a479-4278-abc3-0691ef843a3e", "5AFF9E5B-A479-4278-ABC3-0691EF843A3E", "three"
	for i, step := range []struct{ kind, identifier, account, want string }{
		{"email", "a@example.org", one, ""},
		{"email", "a@example.org", one, ""}, // two logins of one account
		{"phone", "a@example.org", one, ""},
		{"email", "b@example.org", two, ""},
		{"email", "a@example.org", two, one},
		{"email", "a@example.org", three, ""}, // reported already
		{"email", "c@example.org", three, ""},
		{"email", "b@example.org", three, two}, // an id that is spelled as it was
		{"email", "c@example.org", one, three},
	} {
		first, shared := h.show(step.kind, step.identifier, step.account)
		if first != step.want || shared != (step.want != "") {
			t.Errorf("step %d: %q, %v; want %q", i, first, shared, step.want)
		}
	}
	if len(h.accounts) != 3 {
		t.Errorf("%d accounts are remembered", len(h.accounts))
	}
}

func BenchmarkHolders(b *testing.B) {
	h := newHolders()
	for n := 0; b.Loop(); n++ {
		h.show("email", strconv.Itoa(n), one(n))
	}
	b.ReportMetric(float64(len(h.accounts)), "accounts")
}

func one(n int) string { return "00000000-0000-4000-8000-" + strconv.Itoa(100_000_000_000+n) }
