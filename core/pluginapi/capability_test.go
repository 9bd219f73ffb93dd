package pluginapi

import (
	"testing"

	"github.com/stetl/stetl/core/canonical"
)

func TestAccepts(t *testing.T) {
	t.Parallel()
	const tail = "VYMke6bA9Nzc9Ne1NBY3FulsvVc.uabXkG3mrHFbm0n.p592T/ABm"
	caps := Capabilities{Hashes: []HashSupport{
		{Scheme: canonical.Bcrypt, Variants: []string{"2a", "2b"}, MinCost: 10, MaxCost: 12},
		{Scheme: canonical.Argon2id, MaxMemoryKiB: 65536},
	}}
	for stored, want := range map[string]bool{
		"$2a$10$" + tail: true, "$2b$12$" + tail: true, "$2y$10$" + tail: false, "$2a$09$" + tail: false, "$2a$13$" + tail: false,
		"$argon2id$v=19$m=65536,t=1,p=2$c3RldGwtc2FsdC0xNmJ5dA$SgaE37c5epRNHGSQYxUjYw": true,
		"$argon2id$v=19$m=65537,t=1,p=2$c3RldGwtc2FsdC0xNmJ5dA$SgaE37c5epRNHGSQYxUjYw": false,
		"$argon2i$v=19$m=65536,t=1,p=2$c3RldGwtc2FsdC0xNmJ5dA$SgaE37c5epRNHGSQYxUjYw":  false,
		"hunter2": false, "": false,
	} {
		if got := caps.Accepts(canonical.ParsePasswordHash(stored)); got != want {
			t.Errorf("accepts %s: %v, want %v", canonical.ParsePasswordHash(stored), got, want)
		}
	}
}

func TestSummaryAddsUp(t *testing.T) {
	t.Parallel()
	var s Summary
	for _, a := range []Action{Created, Updated, Unchanged, Skipped, Rejected, InDoubt, "nonsense"} {
		s.Count(a)
	}
	if s.Accounted() != 7 || s.InDoubt != 2 {
		t.Errorf("%+v", s)
	}
}
