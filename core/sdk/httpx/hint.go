package httpx

import (
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// longestHint bounds what a target may ask for: more is a mistake in a header, and a
// person should see what happens instead.
const longestHint = time.Hour

// hint is how long the target asks to wait before the next request, from Retry-After
// or because nothing is left of its limits; false when it does not.
func hint(h http.Header, now time.Time) (time.Duration, bool) {
	if wait, ok := retryAfter(h.Get("Retry-After"), now); ok {
		return clamp(wait), true
	}
	left, wait, ok := quota(h, now)
	return wait, ok && left == 0
}

// quota is how many requests the target still allows, and how long until there are
// more of them; false when it does not say.
//
// Limits come in three dialects: the RateLimit field of the IETF draft
// (`"name";r=0;t=12`), RateLimit-Remaining with RateLimit-Reset in seconds, and
// X-RateLimit-Remaining with X-RateLimit-Reset as a point in time or in seconds.
func quota(h http.Header, now time.Time) (left int, wait time.Duration, ok bool) {
	if left, wait, ok := rateLimitField(h.Values("RateLimit")); ok {
		return left, clamp(wait), true
	}
	for _, prefix := range []string{"RateLimit-", "X-RateLimit-", "X-Rate-Limit-"} {
		remaining, err := strconv.Atoi(h.Get(prefix + "Remaining"))
		if err != nil {
			continue
		}
		if wait, ok := reset(h.Get(prefix+"Reset"), now); ok {
			return max(remaining, 0), clamp(wait), true
		}
	}
	return 0, 0, false
}

func clamp(wait time.Duration) time.Duration { return min(max(wait, 0), longestHint) }

// retryAfter reads seconds or a date.
func retryAfter(value string, now time.Time) (time.Duration, bool) {
	value = strings.TrimSpace(value)
	if value == "" {
		return 0, false
	}
	if n, err := strconv.ParseFloat(value, 64); err == nil && n >= 0 {
		return seconds(n), true
	}
	at, err := http.ParseTime(value)
	return at.Sub(now), err == nil
}

// reset reads seconds from now or a point in time, in seconds or milliseconds.
func reset(value string, now time.Time) (time.Duration, bool) {
	n, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
	switch {
	case err != nil || n < 0 || math.IsNaN(n):
		return retryAfter(value, now)
	case n >= 1e15:
		return longestHint, true
	case n >= 1e12:
		return time.UnixMilli(int64(n)).Sub(now), true
	case n >= 1e9:
		return time.Unix(int64(n), 0).Sub(now), true
	}
	return seconds(n), true
}

func seconds(n float64) time.Duration {
	return time.Duration(min(n, longestHint.Seconds()) * float64(time.Second))
}

// rateLimitField reads r (what is left) and t (seconds until there is more). Of
// several limits, the tightest one counts.
func rateLimitField(values []string) (left int, wait time.Duration, found bool) {
	for _, value := range values {
		for item := range strings.SplitSeq(value, ",") {
			r, t := -1, -1.0
			for param := range strings.SplitSeq(item, ";") {
				name, number, _ := strings.Cut(strings.TrimSpace(param), "=")
				n, err := strconv.ParseFloat(number, 64)
				switch {
				case err != nil || n < 0:
				case name == "r":
					r = int(min(n, 1e9))
				case name == "t":
					t = n
				}
			}
			if r < 0 || t < 0 {
				continue
			}
			if until := seconds(t); !found || r < left || r == left && until > wait {
				left, wait, found = r, until, true
			}
		}
	}
	return left, wait, found
}
