package engine

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/stetl/stetl/core/canonical"
	"github.com/stetl/stetl/core/supertokens"
	"github.com/stetl/stetl/internal/testserver/fixture"
)

// sampled is a sample of n and the kinds that were met.
func sampled(src listed, n int) (ids map[string]bool, s *sampler) {
	s = newSampler(n)
	for i := range src {
		s.see(&src[i])
	}
	return s.pick(), s
}

// shownBy counts in how many of the accounts each kind is.
func shownBy(src listed, ids map[string]bool) map[kind]int {
	shown := map[kind]int{}
	for i := range src {
		if ids == nil || ids[src[i].InternalID] {
			for _, k := range kindsOf(nil, &src[i]) {
				shown[k]++
			}
		}
	}
	return shown
}

// crowd draws accounts of all sorts.
func crowd(t *rapid.T) listed {
	hashes := []string{
		"", "", "no hash at all", "neither this", "$2a$11$VYMke6bA9Nzc9Ne1NBY3FulsvVc.uabXkG3mrHFbm0n.p592T/ABm", "$2y$10$VYMke6bA9Nzc9Ne1NBY3FulsvVc.uabXkG3mrHFbm0n.p592T/ABm",
	}
	name := func(what string, n int) string {
		return fmt.Sprintf("%s%d", what, rapid.IntRange(0, n).Draw(t, what))
	}
	flip := func(what string) bool { return rapid.IntRange(0, 9).Draw(t, what) == 0 }
	var src listed
	for i := range rapid.IntRange(0, 60).Draw(t, "accounts") {
		u := canonical.User{InternalID: id(i), ID: id(i), Primary: flip("primary"), GhostPrimary: flip("ghost")}
		if flip("mapped") {
			u.ID = "ext" + u.ID
		}
		for range rapid.SampledFrom([]int{1, 1, 1, 1, 2, 3}).Draw(t, "logins") {
			l := canonical.Login{
				Recipe:   rapid.SampledFrom([]canonical.Recipe{canonical.EmailPassword, canonical.ThirdParty, canonical.Passwordless}).Draw(t, "recipe"),
				Password: canonical.ParsePasswordHash(rapid.SampledFrom(hashes).Draw(t, "hash")),
			}
			if flip("identity") {
				l.Identity = &canonical.Identity{Provider: name("provider", 5)}
			}
			if !flip("nowhere") {
				l.Tenants = []string{name("tenant", 4)}
			}
			u.Logins = append(u.Logins, l)
		}
		if flip("roles") {
			u.Roles = map[string][]string{name("tenant", 4): {name("role", 9)}, "public": {name("role", 9)}}
		}
		if flip("totp") {
			u.TOTPDevices = []canonical.TOTPDevice{{Verified: flip("verified")}}
		}
		if flip("warned") {
			u.Warnings = []canonical.Warning{{Code: name("warning", 6)}}
		}
		if flip("known") {
			u.TimeJoined = time.UnixMilli(int64(i + 1))
		}
		src = append(src, u)
	}
	return src
}

// A sample is of the size that is wanted; it holds every kind as soon as it may have as
// many accounts as there are kinds; it is the same whatever the order of reading, and a
// larger one holds it.
func TestSample(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		src := crowd(t)
		n := rapid.IntRange(1, 70).Draw(t, "sample")
		ids, s := sampled(src, n)
		if len(ids) != min(n, len(src)) {
			t.Fatalf("%d accounts for a sample of %d from %d", len(ids), n, len(src))
		}
		all, shown := shownBy(src, nil), shownBy(src, ids)
		for k := range all {
			if n >= len(all) && shown[k] == 0 {
				t.Fatalf("%d of %d accounts and %d kinds, and nobody is of %v", n, len(src), len(all), k)
			}
		}
		if len(s.kinds) != len(all) {
			t.Fatalf("%d kinds, %d were met", len(all), len(s.kinds))
		}
		shuffled := slices.Clone(src)
		seed := rapid.Uint64().Draw(t, "order")
		rand.New(rand.NewPCG(seed, 0)).Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		if again, _ := sampled(shuffled, n); !maps.Equal(again, ids) {
			t.Fatalf("in another order:\n%v\n%v", again, ids)
		}
		larger, _ := sampled(src, n+1)
		for id := range ids {
			if !larger[id] {
				t.Fatalf("%s is in a sample of %d and not in one of %d", id, n, n+1)
			}
		}
	})
}

// What is rare comes before what is frequent, and three times where the number allows.
func TestSampleShowsWhatIsRare(t *testing.T) {
	t.Parallel()
	src := people(5000)
	for n, change := range map[int]func(*canonical.User){
		17:   func(u *canonical.User) { u.GhostPrimary = true },
		1234: func(u *canonical.User) { u.TOTPDevices = []canonical.TOTPDevice{{Verified: true}} },
		4999: func(u *canonical.User) { u.Roles = map[string][]string{"public": {"billing"}} },
	} {
		change(&src[n])
	}
	for n := 100; n < 104; n++ {
		src[n].ID = "external"
	}
	if ids, _ := sampled(src, 4); !ids[id(17)] || !ids[id(1234)] || !ids[id(4999)] || shownBy(src, ids)[kind{"external id", ""}] != 1 {
		t.Errorf("a sample of 4 is %v", ids)
	}
	ids, _ := sampled(src, 20)
	if got := shownBy(src, ids)[kind{"external id", ""}]; got != perKind {
		t.Errorf("%d of the four with an external id", got)
	}
	// The next account that comes takes at most the place of another one.
	ids, _ = sampled(src[:4000], 200)
	more, _ := sampled(src[:4001], 200)
	for id := range more {
		delete(ids, id)
	}
	if len(ids) > 1 {
		t.Errorf("%d accounts have left the sample", len(ids))
	}
}

// What a sampler holds does not grow with the source, whatever its users make up.
func TestSamplerIsBounded(t *testing.T) {
	t.Parallel()
	const wanted = 50
	s := newSampler(wanted)
	for i := range 20_000 {
		s.see(&canonical.User{
			InternalID: id(i), ID: id(i), Roles: map[string][]string{"public": {fmt.Sprintf("role%d", i)}},
			Logins: []canonical.Login{{
				Recipe: canonical.Recipe(fmt.Sprintf("recipe%d", i)), Tenants: []string{fmt.Sprintf("tenant%d", i)},
				Password: canonical.ParsePasswordHash(fmt.Sprintf("%0*d", i%400+1, 0)), // unknown, of any length
			}},
		})
	}
	held := len(s.rest)
	for _, g := range s.kinds {
		held += len(g.first)
	}
	if len(s.rest) != wanted || len(s.kinds) != len(s.places) || len(s.kinds) > 2*mostKinds || held > wanted+2*mostKinds*perKind {
		t.Errorf("%d kinds, %d accounts, %d of them for the rest", len(s.kinds), held, len(s.rest))
	}
	if got := len(s.pick()); got != wanted {
		t.Errorf("a sample of %d", got)
	}
}

// The fixtures have everything that SuperTokens has: a sample shows all of it.
func TestSampleOfFixtures(t *testing.T) {
	t.Parallel()
	most := 0
	for _, name := range fixture.Names(t) {
		src, err := supertokens.Open(t.Context(), supertokens.Options{Dump: fixture.Dump(t, name)})
		if err != nil {
			t.Fatal(err)
		}
		var all listed
		err = src.Read(t.Context(), func(b supertokens.Batch) error {
			all = append(all, b.Users...)
			return nil
		})
		if closeErr := src.Close(); err != nil || closeErr != nil {
			t.Fatal(err, closeErr)
		}
		kinds := shownBy(all, nil)
		for _, n := range []int{30, len(kinds)} {
			ids, _ := sampled(all, n)
			shown := shownBy(all, ids)
			for k := range kinds {
				if shown[k] == 0 && (n == len(kinds) || !k.byName()) {
					t.Errorf("%s: nobody of %d is of %v", name, len(ids), k)
				}
			}
		}
		most = max(most, len(kinds))
	}
	if most < 40 {
		t.Errorf("no fixture has more than %d kinds", most)
	}
}
