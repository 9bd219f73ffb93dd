package engine

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"

	"github.com/stetl/stetl/core/canonical"
	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/internal/duplicates"
	"github.com/stetl/stetl/core/journal"
	"github.com/stetl/stetl/core/mapping"
	"github.com/stetl/stetl/core/pluginapi"
	"github.com/stetl/stetl/core/policy"
)

// remembered is a journal in memory.
type remembered struct {
	entries map[string]journal.Entry
	marked  int // batches without an outcome
	failing error
}

func (m *remembered) Known(context.Context) iter.Seq2[journal.Known, error] {
	return func(yield func(journal.Known, error) bool) {
		var ids []string
		for id := range m.entries {
			ids = append(ids, id)
		}
		slices.Sort(ids)
		for _, id := range ids {
			e := m.entries[id]
			if !yield(e.Known(), nil) {
				return
			}
		}
	}
}

func (m *remembered) Get(_ context.Context, id string) (journal.Entry, bool, error) {
	e, ok := m.entries[id]
	return e, ok, nil
}

func (m *remembered) Mark(int64, []journal.Entry) (int64, error) {
	m.marked++
	return 1, m.failing
}

func (m *remembered) Record(batch int64, entries []journal.Entry) error {
	if batch > 0 {
		m.marked--
	}
	for _, e := range entries {
		m.entries[e.SourceID] = e
	}
	return m.failing
}

func surveyOf(t *testing.T, src Source, change func(*surveyor)) *survey {
	t.Helper()
	v := surveyor{src: src, caps: &pluginapi.Capabilities{UniqueEmail: true}, roles: newRoleHolders(nil), progress: func(int) {}}
	if change != nil {
		change(&v)
	}
	s, err := v.survey(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// worked are the source ids in a work set, with the status of each.
func worked(t *testing.T, s *survey) map[string]status {
	t.Helper()
	all := map[string]status{}
	err := s.work.each(nil, func(it *item) error {
		all[it.user.SourceID] = s.status(it.place)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// A survey says of everybody how the account compares with the journal, and keeps those
// that something is to be done about.
func TestSurvey(t *testing.T) {
	t.Parallel()
	src, key := people(6), []byte("key")
	u, _ := mapping.Map(&src[0], pluginapi.Capabilities{})
	j := &remembered{entries: map[string]journal.Entry{
		id(0): {SourceID: id(0), Origin: journal.Made, Digest: u.Digest(key)},
		id(1): {SourceID: id(1), Origin: journal.Found, Digest: []byte("another")},
		id(2): {SourceID: id(2), InDoubt: true},
		id(3): {SourceID: id(3), Action: pluginapi.Rejected},
		"aaa": {SourceID: "aaa", Origin: journal.Made},
		"zzz": {SourceID: "zzz", Origin: journal.Made},
	}}
	src[5].Logins[0].Email = src[4].Logins[0].Email
	known := func(v *surveyor) { v.journal, v.key = j, key }
	s := surveyOf(t, src, known)
	want := map[string]status{id(1): statusChanged, id(2): statusInDoubt, id(3): statusFailed, id(4): statusNew, id(5): statusNew}
	if diff := cmp.Diff(want, worked(t, s)); diff != "" {
		t.Errorf("the work set (-want +got):\n%s", diff)
	}
	if s.total != 6 || s.amount != 6 || s.unchanged() != 1 || !slices.Equal(s.removed, []string{"aaa", "zzz"}) {
		t.Errorf("%d of %d, %d unchanged, removed %v", s.amount, s.total, s.unchanged(), s.removed)
	}
	if n := s.demand.needs(); n.Users != 4 || s.demand.changed != 1 { // u0005 is kept out
		t.Errorf("needs %+v, %d changed", n, s.demand.changed)
	}
	everybody := surveyOf(t, src, func(v *surveyor) { known(v); v.everybody = true })
	want[id(0)] = statusUnchanged
	if cmp.Diff(want, worked(t, everybody)) != "" {
		t.Errorf("the work set of a plan: %v", worked(t, everybody))
	}
	full := surveyOf(t, src, func(v *surveyor) { known(v); v.full = true })
	if got := worked(t, full)[id(0)]; got != statusChanged {
		t.Errorf("with full, an account that has not changed has status %d", got)
	}
	part := surveyOf(t, src, func(v *surveyor) { known(v); v.part = Only("", map[string]bool{id(2): true}) })
	if got := worked(t, part); len(got) != 1 || part.amount != 1 || part.total != 6 || !part.about(2) || part.about(3) {
		t.Errorf("a part: %v, %d of %d", got, part.amount, part.total)
	}
}

// A survey that fails leaves nothing open and is none.
func TestSurveyThatFails(t *testing.T) {
	t.Parallel()
	broken := errors.New("the connection is lost")
	v := surveyor{src: cutOff{people(9), broken}, caps: &pluginapi.Capabilities{}, roles: newRoleHolders(nil), progress: func(int) {}}
	if s, err := v.survey(t.Context()); s != nil || !errors.Is(err, broken) {
		t.Errorf("%v, %v", s, err)
	}
}

// wants is an identifier that accounts want, by place; the rank is the place.
func wants(kind idKind, places ...int) duplicates.Group {
	g := duplicates.Group{Kind: kind.bit()}
	for _, p := range places {
		g.Accounts = append(g.Accounts, duplicates.Account{Place: p, ID: fmt.Sprint(p), Rank: int64(p)})
	}
	return g
}

func everyone(int) bool { return true }

func TestConflicts(t *testing.T) {
	t.Parallel()
	user := func() *pluginapi.User {
		return &pluginapi.User{SourceID: "s", ID: "ext", Username: "ada", Email: "ada@example.org", EmailVerified: new(true)}
	}
	for name, tt := range map[string]struct {
		policies policy.Collision
		group    duplicates.Group
		out      pluginapi.Action
		changed  func(u *pluginapi.User) bool
		loss     mapping.Loss
	}{
		"nothing said":    {group: wants(username, 1, 2), out: pluginapi.Rejected},
		"skip":            {policies: policy.Collision{Email: policy.Skip}, group: wants(email, 1, 2), out: pluginapi.Skipped},
		"suffix":          {policies: policy.Collision{Username: policy.Suffix}, group: wants(username, 1, 2), changed: func(u *pluginapi.User) bool { return strings.HasPrefix(u.Username, "ada-") }, loss: mapping.LossUsername},
		"drop":            {policies: policy.Collision{Email: policy.Drop}, group: wants(email, 1, 2), changed: func(u *pluginapi.User) bool { return u.Email == "" && u.EmailVerified == nil }, loss: mapping.LossEmail},
		"internal":        {policies: policy.Collision{ID: policy.Internal}, group: wants(idOfUser, 1, 2), changed: func(u *pluginapi.User) bool { return u.ID == "s" }, loss: mapping.LossExternalID},
		"allow":           {policies: policy.Collision{Email: policy.Allow}, group: wants(email, 1, 2), changed: func(u *pluginapi.User) bool { return u.Email != "" }},
		"link of an id":   {policies: policy.Collision{ID: policy.Link}, group: wants(idOfUser, 1, 2), out: pluginapi.Rejected},
		"suffix of an id": {policies: policy.Collision{ID: policy.Suffix}, group: wants(idOfUser, 1, 2), out: pluginapi.Rejected},
	} {
		c := decide([]duplicates.Group{tt.group}, tt.policies, identityKeys{})
		c.link()
		u := user()
		l := c.resolve(2, u)
		switch {
		case (l != nil) != (tt.out != ""):
			t.Errorf("%s: kept out: %v", name, l != nil)
		case l != nil && l.action != tt.out:
			t.Errorf("%s: it is %s, want %s", name, l.action, tt.out)
		case l == nil && !tt.changed(u):
			t.Errorf("%s: it becomes %+v", name, *u)
		}
		if first := user(); c.resolve(1, first) != nil || !cmp.Equal(first.Username+first.Email+first.ID, "adaada@example.orgext") {
			t.Errorf("%s: the winner becomes %+v", name, *first)
		}
		if losses := c.losses(everyone); (tt.loss != "") != (losses[tt.loss] == 1) || len(losses) > 1 {
			t.Errorf("%s: losses %v", name, losses)
		}
	}
}

// Two accounts are made one when both have proven the same address, and only with one that
// gets all it wants.
func TestLinks(t *testing.T) {
	t.Parallel()
	link := policy.Collision{Username: policy.Link, Email: policy.Link}
	one := func(place int, address string, proven bool) *item {
		return &item{place: place, proven: proven, user: pluginapi.User{SourceID: fmt.Sprint(place), Email: address, Tenants: []string{fmt.Sprint("t", place)}}}
	}
	for name, tt := range map[string]struct {
		groups []duplicates.Group
		items  []*item
		linked bool
	}{
		"both proven":      {[]duplicates.Group{wants(email, 1, 2)}, []*item{one(1, "a@b", true), one(2, "A@b", true)}, true},
		"guest not proven": {[]duplicates.Group{wants(email, 1, 2)}, []*item{one(1, "a@b", true), one(2, "a@b", false)}, false},
		"host not proven":  {[]duplicates.Group{wants(email, 1, 2)}, []*item{one(1, "a@b", false), one(2, "a@b", true)}, false},
		"no address":       {[]duplicates.Group{wants(username, 1, 2)}, []*item{one(1, "", true), one(2, "", true)}, false},
		"host loses too":   {[]duplicates.Group{wants(email, 1, 2), wants(username, 0, 1)}, []*item{one(0, "x@b", true), one(1, "a@b", true), one(2, "a@b", true)}, false},
		"host not met":     {[]duplicates.Group{wants(email, 1, 2)}, []*item{one(2, "a@b", true)}, false},
	} {
		c := decide(tt.groups, link, identityKeys{})
		for _, it := range tt.items {
			c.meet(it)
		}
		c.link()
		host := pluginapi.User{SourceID: "1"}
		c.resolve(1, &host)
		l := c.resolve(2, &pluginapi.User{})
		if l == nil || l.link != tt.linked || (len(host.Tenants) > 0) != tt.linked {
			t.Errorf("%s: linked %+v, the host has %v", name, l, host.Tenants)
		}
	}
}

// Who has to be met is who matters to those that the run is about.
func TestMissingParties(t *testing.T) {
	t.Parallel()
	link, reject := policy.Collision{Email: policy.Link}, policy.Collision{}
	only := func(places ...int) func(int) bool { return func(n int) bool { return slices.Contains(places, n) } }
	for name, tt := range map[string]struct {
		policies    policy.Collision
		met, chosen func(int) bool
		want        []int
	}{
		"everybody was met":      {link, everyone, everyone, nil},
		"a loser was not":        {reject, only(1), everyone, []int{2}},
		"a winner was not":       {reject, only(2), everyone, nil},
		"a host was not":         {link, only(2), everyone, []int{1}},
		"about the loser alone":  {reject, only(2), only(2), []int{1}},
		"about the winner alone": {reject, only(1), only(1), nil},
		"about the host alone":   {link, only(1), only(1), []int{2}},
		"about the guest alone":  {link, only(2), only(2), []int{1}},
		"about neither":          {link, only(), only(), nil},
	} {
		missing := decide([]duplicates.Group{wants(email, 1, 2)}, tt.policies, identityKeys{}).missing(tt.met, tt.chosen)
		var got []int
		for n := range 4 {
			if missing.has(n) {
				got = append(got, n)
			}
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s: missing %v, want %v", name, got, tt.want)
		}
	}
}

// Accounts without an address do not want the same one, whatever a rule has made of
// their names.
func TestNoAddressIsWantedByNobody(t *testing.T) {
	t.Parallel()
	c := newClaims(&pluginapi.Capabilities{UniqueEmail: true})
	for place, id := range []string{"a", "b"} {
		if err := c.add(place, &pluginapi.User{SourceID: id, ID: id}); err != nil {
			t.Fatal(err)
		}
	}
	groups, err := c.groups()
	if err != nil || len(groups) != 1 || groups[0].Kind != username.bit() {
		t.Errorf("%+v, %v", groups, err)
	}
}

// At a target without user names nobody can want the same name.
func TestNamesThatATargetDoesNotHave(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		caps pluginapi.Capabilities
		want []duplicates.Kind
	}{
		{pluginapi.Capabilities{UniqueEmail: true}, []duplicates.Kind{username.bit(), email.bit()}},
		{pluginapi.Capabilities{}, []duplicates.Kind{username.bit()}},
		{pluginapi.Capabilities{UniqueEmail: true, NoUsernames: true}, []duplicates.Kind{email.bit()}},
		{pluginapi.Capabilities{NoUsernames: true}, nil},
	} {
		c := newClaims(&tt.caps)
		for place, id := range []string{"a", "b"} {
			if err := c.add(place, &pluginapi.User{SourceID: id, ID: id, Username: "Ada@example.org", Email: "ada@example.org"}); err != nil {
				t.Fatal(err)
			}
		}
		groups, err := c.groups()
		var got []duplicates.Kind
		for _, g := range groups {
			got = append(got, g.Kind)
		}
		if err != nil || !slices.Equal(got, tt.want) {
			t.Errorf("%+v: %v, %v", tt.caps, got, err)
		}
	}
}

// Where an identifier is unique in a tenant only, two accounts collide that share one; who
// is of none shares it with nobody but others of none.
func TestIdentifiersOfATenant(t *testing.T) {
	t.Parallel()
	caps := pluginapi.Capabilities{UniqueEmail: true, UniqueInTenant: []pluginapi.Identifier{pluginapi.IdentifierEmail}}
	tenants := [][]string{{"a"}, {"b"}, {"b", "c"}, nil, {"a", "c"}}
	c := newClaims(&caps)
	for place, of := range tenants {
		id := string(rune('p' + place))
		if err := c.add(place, &pluginapi.User{SourceID: id, ID: id, Username: id, Email: "ada@example.org", Tenants: of}); err != nil {
			t.Fatal(err)
		}
	}
	groups, err := c.groups()
	var got [][]int
	for _, g := range groups {
		var places []int
		for _, a := range g.Accounts {
			places = append(places, a.Place)
		}
		if g.Kind == email.bit() {
			got = append(got, places)
		}
	}
	if want := [][]int{{0, 4}, {1, 2}, {2, 4}}; err != nil || !cmp.Equal(want, got) {
		t.Errorf("%v (%v), want %v", got, err, want)
	}
}

// What is taken out of a demand was never in it.
func TestDemandCanBeCorrected(t *testing.T) {
	t.Parallel()
	src := entangled()
	src[0].Roles, src[0].Metadata = map[string][]string{"t": {"admin"}}, []byte(`{"k":1}`)
	src[1].Logins[0].Identity = &canonical.Identity{Provider: "google", Subject: "1"}
	caps := pluginapi.Capabilities{Carries: pluginapi.Features()}
	d, left := newDemand(), newDemand()
	for i := range src {
		u, _ := mapping.Map(&src[i], caps)
		s := status(i % 4)
		d.add(s, &u)
		if i >= 2 {
			left.add(s, &u)
		}
	}
	for i := range 2 {
		u, _ := mapping.Map(&src[i], caps)
		d.take(status(i%4), &u)
	}
	all := []pluginapi.Mailing{pluginapi.MailsCreated}
	if diff := cmp.Diff(left.needs(), d.needs()); diff != "" || d.changed != left.changed || d.mailed(all) != left.mailed(all) || len(d.hashes.list()) != len(left.hashes.list()) {
		t.Errorf("changed %d and %d, mailed %d and %d (-want +got):\n%s", left.changed, d.changed, left.mailed(all), d.mailed(all), diff)
	}
}

// A loader marks before and records after; what was not begun leaves no mark and has no
// outcome.
func TestLoader(t *testing.T) {
	t.Parallel()
	users := []pluginapi.User{{SourceID: "a", ID: "a"}, {SourceID: "b", ID: "b"}}
	before := make([]journal.Entry, 2)
	begin := func() (func(), error) { return func() {}, nil }
	full, stop := errors.New("no space"), errors.New("stop")

	f, j := newFake(), &remembered{entries: map[string]journal.Entry{}}
	l := loader{dst: f, journal: j, key: []byte("k")}
	changes, err := l.load(t.Context(), users, before, begin)
	if err != nil || len(changes) != 2 || j.marked != 0 || j.entries["b"].Origin != journal.Made || j.entries["b"].TargetID != "b" {
		t.Errorf("%+v, %v, %+v", changes, err, j.entries)
	}
	f, j = newFake(), &remembered{entries: map[string]journal.Entry{}}
	l = loader{dst: f, journal: j}
	changes, err = l.load(t.Context(), users, before, func() (func(), error) { return nil, stop })
	if !errors.Is(err, stop) || changes != nil || f.calls["load"] > 0 || j.marked != 0 || len(j.entries) > 0 {
		t.Errorf("stopped: %+v, %v, %d marks, %v", changes, err, j.marked, j.entries)
	}
	j.failing = full
	changes, err = l.load(t.Context(), users, before, begin)
	if !errors.Is(err, full) || len(changes) != 2 || changes[0].Code != diag.PluginNotSent || f.calls["load"] > 0 {
		t.Errorf("without marks: %+v, %v", changes, err)
	}
	l.journal = nil
	if changes, err = l.load(t.Context(), users, before, begin); err != nil || changes[1].Action != pluginapi.Created {
		t.Errorf("without a journal: %+v, %v", changes, err)
	}
}

// What the journal says of an account after every outcome, by what it said before.
func TestEntryAfterAnOutcome(t *testing.T) {
	t.Parallel()
	u := pluginapi.User{SourceID: "a", ID: "v"}
	key := []byte("k")
	now, old := u.Digest(key), []byte("old")
	l := loader{run: 7, key: key}
	made := journal.Entry{Origin: journal.Made, TargetID: "t", Digest: old, State: []byte("s0")}
	type want struct {
		origin  journal.Origin
		inDoubt bool
		digest  []byte
		state   string
		before  string
	}
	for name, tt := range map[string]struct {
		outcome pluginapi.Outcome
		before  journal.Entry
		want    want
	}{
		"created":                   {pluginapi.Outcome{Action: pluginapi.Created, State: []byte("s")}, journal.Entry{}, want{origin: journal.Made, digest: now, state: "s"}},
		"updated":                   {pluginapi.Outcome{Action: pluginapi.Updated, State: []byte("s"), Before: []byte("b")}, made, want{origin: journal.Made, digest: now, state: "s"}},
		"adopted":                   {pluginapi.Outcome{Action: pluginapi.Updated, State: []byte("s"), Before: []byte("b")}, journal.Entry{}, want{origin: journal.Adopted, digest: now, state: "s", before: "b"}},
		"found":                     {pluginapi.Outcome{Action: pluginapi.Unchanged, State: []byte("s")}, journal.Entry{}, want{origin: journal.Found, digest: now, state: "s"}},
		"found after a lost answer": {pluginapi.Outcome{Action: pluginapi.Unchanged}, journal.Entry{InDoubt: true}, want{origin: journal.Made, digest: now}},
		"unchanged, no state told":  {pluginapi.Outcome{Action: pluginapi.Unchanged}, journal.Entry{Origin: journal.Made, Digest: now, State: []byte("s0")}, want{origin: journal.Made, digest: now, state: "s0"}},
		"rejected":                  {pluginapi.Outcome{Action: pluginapi.Rejected}, made, want{origin: journal.Made, digest: old, state: "s0"}},
		"there, and not all of it is shown": {
			pluginapi.Outcome{Action: pluginapi.Unchanged, State: []byte("s"), Losses: []pluginapi.PartLoss{{Feature: pluginapi.PartPassword, Code: diag.LoadUnread}}},
			journal.Entry{},
			want{origin: journal.Found, state: "s"},
		},
		"created, and a part is to be tried again": {
			pluginapi.Outcome{Action: pluginapi.Created, State: []byte("s"), Losses: []pluginapi.PartLoss{{Feature: pluginapi.CarriesTOTP, Code: diag.LoadPartFailed}}},
			journal.Entry{},
			want{origin: journal.Made, state: "s"},
		},
		"created, and a part is refused": {
			pluginapi.Outcome{Action: pluginapi.Created, State: []byte("s"), Losses: []pluginapi.PartLoss{{Feature: pluginapi.CarriesTOTP, Code: diag.LoadPartRefused}}},
			journal.Entry{},
			want{origin: journal.Made, digest: now, state: "s"},
		},
		"rejected, and found elsewhere": {pluginapi.Outcome{Action: pluginapi.Rejected, TargetID: "other"}, made, want{origin: journal.Made, digest: old, state: "s0"}},
		"there before, and not sent": {
			pluginapi.Outcome{Action: pluginapi.InDoubt, Code: diag.PluginNotSent},
			journal.Entry{Action: pluginapi.Skipped, Code: diag.LoadExistsDiffers, TargetID: "t"},
			want{},
		},
		"answer lost": {pluginapi.Outcome{Action: pluginapi.InDoubt}, made, want{origin: journal.Made, inDoubt: true, digest: old, state: "s0"}},
		"not sent":    {pluginapi.Outcome{Action: pluginapi.InDoubt, Code: diag.PluginNotSent}, made, want{origin: journal.Made, digest: old, state: "s0"}},
	} {
		e := l.entry(&u, &tt.outcome, &tt.before)
		got := want{e.Origin, e.InDoubt, e.Digest, string(e.State), string(e.Before)}
		if diff := cmp.Diff(tt.want, got, cmp.AllowUnexported(want{})); diff != "" || e.Run != 7 || e.VisibleID != "v" || e.TargetID != tt.before.TargetID {
			t.Errorf("%s: %+v (-want +got):\n%s", name, e, diff)
		}
		if tt.outcome.Action == pluginapi.InDoubt && e.Theirs() != tt.before.Theirs() {
			t.Errorf("%s: that the account was there before is %v, it was %v", name, e.Theirs(), tt.before.Theirs())
		}
	}
}

// A run that begins with nothing but one failure stops, and so does one in which too many
// fail, however they are spread.
func TestLimiterWithoutSettings(t *testing.T) {
	t.Parallel()
	outcomes := func(l *limiter, n int, codes ...diag.Code) error {
		for i := range n {
			c := pluginapi.Change{Outcome: pluginapi.Outcome{Action: pluginapi.Rejected, Code: codes[i%len(codes)], Detail: "no"}}
			if c.Code == "" {
				c.Action = pluginapi.Created
			}
			if err := l.after([]pluginapi.Change{c}); err != nil {
				return fmt.Errorf("after %d: %w", i+1, err)
			}
		}
		return nil
	}
	const a, b = diag.LoadTargetRefused, diag.LoadEmailInvalid
	for name, tt := range map[string]struct {
		total, n int
		settled  int
		limit    policy.Limit
		codes    []diag.Code
		want     string
	}{
		"all alike":                      {total: 5000, n: 4000, codes: []diag.Code{a}, want: "after 100: stopped by a limit: all of the first 100 accounts end with load.target_refused, for example: no"},
		"all alike, a count is set":      {total: 5000, n: 4000, limit: policy.Limit{Set: true, Count: 900}, codes: []diag.Code{a}, want: "after 100: stopped by a limit: all of the first 100"},
		"those that earlier runs left":   {total: 5000, settled: 4800, n: 200, codes: []diag.Code{a}},
		"few accounts":                   {total: 90, n: 90, codes: []diag.Code{a}},
		"not alike":                      {total: 5000, n: 250, codes: []diag.Code{a, b}},
		"not alike, and more than 5 %":   {total: 5000, n: 4000, codes: []diag.Code{a, b}, want: "after 251: stopped by a limit: 251 of 5000 accounts"},
		"one in twenty":                  {total: 5000, n: 5000, codes: append([]diag.Code{a}, make([]diag.Code, 19)...)},
		"one in five":                    {total: 5000, n: 5000, codes: []diag.Code{"", a, "", "", ""}, want: "251 of 5000"},
		"one in five, and that is known": {total: 5000, n: 5000, limit: policy.Limit{Set: true, Percent: 25}, codes: []diag.Code{"", a, "", "", ""}},
		"a hundred of few":               {total: 400, n: 400, codes: []diag.Code{"", a, "", ""}},
	} {
		l := newLimiter(&policy.Policies{Limits: policy.Limits{Failures: tt.limit}}, tt.total, tt.settled)
		err := outcomes(l, tt.n, tt.codes...)
		if (err != nil) != (tt.want != "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", name, err, tt.want)
		}
	}
}

func TestLimiter(t *testing.T) {
	t.Parallel()
	two := policy.Limit{Set: true, Count: 2}
	l := newLimiter(&policy.Policies{Skip: []diag.Code{"fine"}, Limits: policy.Limits{Updates: two, Resets: two, Mails: two, Stranded: two, Adoptions: two, Failures: two, Window: 4}}, 100, 0)
	for _, n := range [][4]int{{2, 2, 2, 2}, {3, 0, 0, 0}, {0, 3, 0, 0}, {0, 0, 3, 0}, {0, 0, 0, 3}} {
		if err := l.before(n[0], n[1], n[2], n[3], 0); errors.Is(err, ErrLimit) != (slices.Max(n[:]) > 2) {
			t.Errorf("%v: %v", n, err)
		}
	}
	for name, ask := range map[string]func(int) error{"adopt": l.adopt, "update": l.update} {
		if err := errors.Join(ask(1), ask(1)); err != nil {
			t.Errorf("%s two: %v", name, err)
		}
		if err := ask(1); !errors.Is(err, ErrLimit) {
			t.Errorf("%s a third: %v", name, err)
		}
	}
	bad := pluginapi.Change{Outcome: pluginapi.Outcome{Action: pluginapi.Rejected, Code: "x"}}
	good, accepted := pluginapi.Change{Outcome: pluginapi.Outcome{Action: pluginapi.Created}}, pluginapi.Change{Outcome: pluginapi.Outcome{Action: pluginapi.Rejected, Code: "fine"}}
	if err := l.after([]pluginapi.Change{bad, good, good, good, bad, accepted, accepted}); err != nil {
		t.Errorf("one of the last four: %v", err)
	}
	if err := l.after([]pluginapi.Change{bad}); !errors.Is(err, ErrLimit) {
		t.Errorf("two of the last four: %v", err)
	}
}

// The cursor finds who is known, in passing, and lists who has gone.
func TestCursor(t *testing.T) {
	t.Parallel()
	j := &remembered{entries: map[string]journal.Entry{}}
	for i := range 600 {
		origin := journal.Made
		if i%3 == 0 {
			origin = journal.Unclear
		}
		j.entries[id(i)] = journal.Entry{SourceID: id(i), Origin: origin, Digest: []byte(id(i))}
	}
	c, err := openCursor(t.Context(), j)
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	for i := 1; i < 700; i += 2 { // half of them are not in the source
		k, err := c.find(id(i))
		if err != nil || (k != nil) != (i < 600) || k != nil && (k.SourceID != id(i) || string(k.Digest) != id(i)) {
			t.Fatalf("%d: %+v, %v", i, k, err)
		}
	}
	if _, err := c.find(id(699)); err == nil {
		t.Error("an account comes twice")
	}
	if err := c.end(); err != nil || len(c.removed) != 200 || c.removed[0] != id(2) {
		t.Errorf("%d have gone, %v", len(c.removed), err)
	}
}

// Batches come to the target in the order they are made, as many at a time as it takes,
// and one that never gets there holds up nobody.
func TestDispatcherKeepsTheOrder(t *testing.T) {
	t.Parallel()
	const batches = 50
	calls := make(slots, 1)
	var got []string
	group, _ := errgroup.WithContext(t.Context())
	d := newDispatcher(group, pluginapi.BatchLimits{Users: 2, InFlight: 1}, func(b *batch) error {
		if b.users[0].SourceID == id(20) {
			return nil // it needs no call
		}
		defer calls.take(b.turn)()
		got = append(got, b.users[0].SourceID)
		return nil
	})
	var want []string
	for i := range 2 * batches {
		d.add(&pluginapi.User{SourceID: id(i)}, &journal.Entry{}, false, i)
		if i%2 == 0 && i != 20 {
			want = append(want, id(i))
		}
	}
	if err := d.wait(nil); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// What waits comes back as it was taken in, also when it is on disk.
func TestWorkSet(t *testing.T) {
	t.Parallel()
	var w workSet
	long := strings.Repeat("tenant", 400)
	for i := range 3000 {
		account := canonical.User{Logins: []canonical.Login{{Recipe: canonical.Passwordless, Tenants: []string{"b"}}, {Recipe: canonical.EmailPassword, Tenants: []string{"a"}}}}
		it := item{place: i * 3, proven: i%2 == 0, user: pluginapi.User{SourceID: id(i), Metadata: []byte(`{"n":"` + long + `"}`)}}
		if i%5 == 0 {
			it.out = &mapping.Exclusion{Action: pluginapi.Skipped, Code: diag.MapFiltered, Detail: "why"}
		}
		if i == 7 {
			account.Logins[0].Tenants = []string{long}
		}
		if err := w.add(&it, &account); err != nil {
			t.Fatal(err)
		}
	}
	n := 0
	err := w.each(func(place int) bool { return place%2 == 0 }, func(it *item) error {
		i := it.place / 3
		if it.user.SourceID != id(i) || it.proven != (i%2 == 0) || (it.out != nil) != (i%5 == 0) || it.out != nil && it.out.Detail != "why" || string(it.where) != "emailpassword and passwordless in a, b" {
			return fmt.Errorf("item %d: %+v in %q", i, it.user, it.where)
		}
		n++
		return nil
	})
	if err != nil || n != 1500 || w.count != 3000 || !w.members.has(9) || w.members.has(10) {
		t.Errorf("%d of %d, %v", n, w.count, err)
	}
	err = w.each(func(place int) bool { return place == 21 }, func(it *item) error {
		if len(it.where) != longestWhere {
			return fmt.Errorf("%d bytes say where somebody signs in", len(it.where))
		}
		return nil
	})
	if err := errors.Join(err, w.close()); err != nil {
		t.Error(err)
	}
}

// What was read back and is not there is in doubt, and what differs is looked at again.
func TestDisprove(t *testing.T) {
	t.Parallel()
	for code, inDoubt := range map[diag.Code]bool{diag.VerifyMissing: true, diag.VerifyDiffers: false} {
		j := &remembered{entries: map[string]journal.Entry{"a": {SourceID: "a", Origin: journal.Made, Digest: []byte("d"), Action: pluginapi.Created}}}
		err := disprove(t.Context(), j, 3, pluginapi.Change{Outcome: pluginapi.Outcome{SourceID: "a", Code: code}})
		if e := j.entries["a"]; err != nil || e.InDoubt != inDoubt || e.Digest != nil || !e.Open() || !e.InTarget() || e.Run != 3 {
			t.Errorf("%s: %+v, %v", code, e, err)
		}
	}
}

// Only what was written is read back, one of so many.
func TestWrittenIsNoted(t *testing.T) {
	t.Parallel()
	w := &written{every: 1, withIDs: true, ids: map[int]string{}}
	w.note([]int{4, 9, 11, 4}, []pluginapi.Change{
		{Outcome: pluginapi.Outcome{Action: pluginapi.Created, TargetID: "t4"}},
		{Outcome: pluginapi.Outcome{Action: pluginapi.Unchanged}},
		{Outcome: pluginapi.Outcome{Action: pluginapi.Updated, TargetID: "t11"}},
		{Outcome: pluginapi.Outcome{Action: pluginapi.Updated, TargetID: "t4"}},
	})
	if w.count != 2 || !w.at.has(4) || w.at.has(9) || !w.at.has(11) || w.ids[11] != "t11" {
		t.Errorf("%d: %v, %v", w.count, w.at, w.ids)
	}
	var none *written
	none.note([]int{1}, []pluginapi.Change{{}})
}

// Batches that were made ready and are not begun when a run stops leave nobody in doubt,
// and nobody is sent after that.
func TestStoppedRunLeavesNobodyInDoubt(t *testing.T) {
	t.Parallel()
	stop := errors.New("stop")
	for _, inFlight := range []int{1, 3} {
		p, dst, src := newProject(t), newIDP(), people(100)
		dst.caps.Batch.InFlight = inFlight
		ctx, cancel := context.WithCancelCause(t.Context())
		dst.after = func(batch int) error {
			if batch == 2 {
				cancel(stop)
			}
			return nil
		}
		var res *Result
		p.with(func(_ *journal.Scope, o Options) {
			var err error
			if res, err = Run(ctx, src, dst, o); !errors.Is(err, stop) {
				t.Errorf("%d in flight: %v", inFlight, err)
			}
		})
		if s := res.Summary; s.InDoubt > 0 || s.Created != dst.writes || s.Read != s.Created || s.Created == 0 || s.Created > 5*(1+2*inFlight) {
			t.Errorf("%d in flight: %+v, %d writes", inFlight, s, dst.writes)
		}
		p.with(func(s *journal.Scope, _ Options) { // opening takes the marks that were left
			for e, err := range s.Accounts(t.Context()) {
				if err != nil || e.Open() {
					t.Errorf("%d in flight: %s is open, %v", inFlight, e.SourceID, err)
				}
			}
		})
	}
}
