package keycloak

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/stetl/stetl/core/sdk"
	"github.com/stetl/stetl/core/sdk/httpx"
	"github.com/stetl/stetl/internal/targettest"
)

// What tests of all targets share.
const (
	bcryptHash = targettest.Bcrypt
	argon2Hash = targettest.Argon2
)

type book = targettest.Book

var (
	joined         = targettest.Joined
	person, people = targettest.Person, targettest.People
	newBook        = targettest.NewBook
	load, plan     = targettest.Load, targettest.Plan
)

func secretOf(s string) sdk.Secret { return sdk.NewSecret(s) }

// open makes a live target that does not wait long between attempts, and gives up soon.
func open(t testing.TB, c Config) *live {
	t.Helper()
	return openPatient(t, c, 500*time.Millisecond)
}

// openPatient makes one that gives up when it must.
func openPatient(t testing.TB, c Config, patience time.Duration) *live {
	t.Helper()
	c = c.withDefaults()
	if err := c.validate().Err(); err != nil {
		t.Fatal(err)
	}
	env := sdk.Env{Log: slog.New(slog.DiscardHandler), UserAgent: "stetl/test"}
	quick := httpx.Options{Timeout: c.Timeout.Duration, FirstWait: time.Millisecond, MaxElapsed: patience}
	l := newLiveOn(newAPIOver(httpx.NewBase(quick), c, env, quick), c, env)
	t.Cleanup(func() {
		if err := l.Close(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	return l
}

func codes(l sdk.Diagnostics) []string {
	var out []string
	for _, d := range l {
		out = append(out, d.Severity.String()+" "+string(d.Code))
	}
	slices.Sort(out)
	return out
}

func jwtOf(claims any) string {
	b, err := json.Marshal(claims)
	if err != nil {
		panic(err)
	}
	return "e30." + base64.RawURLEncoding.EncodeToString(b) + ".c2ln"
}
