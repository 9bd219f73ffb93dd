package httpx

import (
	"encoding/json"
	"errors"
	"net/url"
	"slices"
	"strings"

	"github.com/stetl/stetl/core/canonical"
)

// Scrubber takes secrets out of what a target says: some repeat a request in their
// answer. The zero value knows none. It is not changed after [NewScrubber], so any
// number of goroutines may use it.
type Scrubber struct{ secrets []string }

// shortest is the length from which a secret is looked for: a shorter one would be
// found everywhere.
const shortest = 4

// NewScrubber knows these secrets, also as they are spelled in addresses and in JSON.
func NewScrubber(secrets ...canonical.Secret) Scrubber {
	var s Scrubber
	for _, secret := range secrets {
		plain := secret.Reveal()
		if len(plain) < shortest {
			continue
		}
		inJSON, _ := json.Marshal(plain) // a string always encodes
		for _, spelling := range []string{plain, url.QueryEscape(plain), url.PathEscape(plain), strings.Trim(string(inJSON), `"`)} {
			if !slices.Contains(s.secrets, spelling) {
				s.secrets = append(s.secrets, spelling)
			}
		}
	}
	// One secret may be the beginning of another one.
	slices.SortFunc(s.secrets, func(a, b string) int { return len(b) - len(a) })
	return s
}

// Text returns text without the secrets.
func (s Scrubber) Text(text string) string {
	for _, secret := range s.secrets {
		text = strings.ReplaceAll(text, secret, "***")
	}
	return text
}

// Error returns err if its text holds no secret, and else the text without it: what it
// wraps could be printed too.
func (s Scrubber) Error(err error) error {
	if err == nil {
		return nil
	}
	if text := err.Error(); s.Text(text) != text {
		return errors.New(s.Text(text))
	}
	return err
}
