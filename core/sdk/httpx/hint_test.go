package httpx

import (
	"net/http"
	"testing"
	"time"
)

func TestHint(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	const no = -1
	for name, tc := range map[string]struct {
		header map[string]string
		want   time.Duration
	}{
		"nothing":                {nil, no},
		"seconds":                {map[string]string{"Retry-After": "12"}, 12 * time.Second},
		"zero":                   {map[string]string{"Retry-After": "0"}, 0},
		"fraction":               {map[string]string{"Retry-After": " 0.5 "}, 500 * time.Millisecond},
		"date":                   {map[string]string{"Retry-After": "Fri, 02 Jan 2026 03:04:35 GMT"}, 30 * time.Second},
		"date in the past":       {map[string]string{"Retry-After": "Fri, 02 Jan 2026 03:00:00 GMT"}, 0},
		"garbage":                {map[string]string{"Retry-After": "soon"}, no},
		"negative":               {map[string]string{"Retry-After": "-5"}, no},
		"not a number":           {map[string]string{"Retry-After": "NaN"}, no},
		"a year":                 {map[string]string{"Retry-After": "31536000"}, time.Hour},
		"more than fits":         {map[string]string{"Retry-After": "1e300"}, time.Hour},
		"something left":         {map[string]string{"X-RateLimit-Remaining": "3", "X-RateLimit-Reset": "60"}, no},
		"nothing left, seconds":  {map[string]string{"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "60"}, time.Minute},
		"nothing left, a moment": {map[string]string{"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1767323055"}, 10 * time.Second},
		"milliseconds":           {map[string]string{"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1767323055000"}, 10 * time.Second},
		"a moment in the past":   {map[string]string{"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1767323000"}, 0},
		"with a dash":            {map[string]string{"X-Rate-Limit-Remaining": "0", "X-Rate-Limit-Reset": "3"}, 3 * time.Second},
		"no reset":               {map[string]string{"X-RateLimit-Remaining": "0"}, no},
		"draft":                  {map[string]string{"RateLimit": `"default";r=0;t=30`}, 30 * time.Second},
		"draft, something left":  {map[string]string{"RateLimit": `"default";r=1;t=30`}, no},
		"draft, the tightest":    {map[string]string{"RateLimit": `"a";r=0;t=3,"b";r=0;t=9, "c";r=5;t=100`}, 9 * time.Second},
		"draft, broken":          {map[string]string{"RateLimit": `r=;t=x`}, no},
		"Retry-After counts":     {map[string]string{"Retry-After": "2", "RateLimit": `"a";r=0;t=30`}, 2 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := http.Header{}
			for key, value := range tc.header {
				h.Set(key, value)
			}
			got, ok := hint(h, now)
			if !ok {
				got = no
			}
			if got != tc.want {
				t.Errorf("got %s, want %s", got, tc.want)
			}
		})
	}
}

// FuzzHint looks for headers that make it wait for ever or not at all.
func FuzzHint(f *testing.F) {
	f.Add("12", `"a";r=0;t=3`, "0", "60")
	f.Add("Fri, 02 Jan 2026 03:04:35 GMT", ";;=,", "-1", "1e400")
	now := time.Unix(1767323045, 0)
	f.Fuzz(func(t *testing.T, after, limit, remaining, reset string) {
		h := http.Header{"Retry-After": {after}, "Ratelimit": {limit}, "X-Ratelimit-Remaining": {remaining}, "X-Ratelimit-Reset": {reset}}
		if wait, _ := hint(h, now); wait < 0 || wait > longestHint {
			t.Errorf("wait %s", wait)
		}
	})
}
