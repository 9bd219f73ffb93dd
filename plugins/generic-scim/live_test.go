package scim

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stetl/stetl/core/sdk"
)

// memory is a journal in memory.
type memory struct {
	mu     sync.Mutex
	values map[string][]byte
}

func (m *memory) Get(key string) ([]byte, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	v, ok := m.values[key]
	return v, ok
}

func (m *memory) Put(_ context.Context, key string, value []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.values == nil {
		m.values = map[string][]byte{}
	}
	m.values[key] = value
	return nil
}

// openLive makes a target that does not wait long, with a memory that lasts.
func openLive(t testing.TB, c Config, j sdk.Journal) *live {
	t.Helper()
	c = c.withDefaults()
	if err := c.validate().Err(); err != nil {
		t.Fatal(err)
	}
	target, err := newLiveOver(c, sdk.Env{Log: slog.New(slog.DiscardHandler), UserAgent: "stetl/test", Journal: j}, quick)
	if err != nil {
		t.Fatal(err)
	}
	target.api.wait = backOffNot
	t.Cleanup(func() {
		if err := target.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	if _, err := target.open(t.Context()); err != nil {
		t.Fatal(err)
	}
	target.server.finder.patience = []time.Duration{0, time.Millisecond, 2 * time.Millisecond, 4 * time.Millisecond}
	return target
}

func (f *fake) settings() Config {
	return Config{URL: f.url, Auth: Auth{Type: "bearer", Token: sdk.NewSecret(fakeToken)}}
}

// known gives users what the host remembers of a load.
func known(users []sdk.User, b *book) []sdk.User {
	out := slices.Clone(users)
	for i := range out {
		o := b.ByID[out[i].SourceID].Outcome
		out[i].Prior = sdk.Prior{TargetID: o.TargetID, State: o.State}
		out[i].Existing = sdk.Update
	}
	return out
}

func accounts(b *book) []sdk.Account {
	var out []sdk.Account
	for source, c := range b.ByID {
		if c.Action == sdk.Created || c.Action == sdk.Updated {
			out = append(out, sdk.Account{SourceID: source, TargetID: c.TargetID, State: c.State, Before: c.Before})
		}
	}
	return out
}

// there puts an account on the server that no load has made.
func (f *fake) there(id, name, key string) {
	u := resource{"id": "there-" + id, "userName": name, "active": true, "version": "1"}
	if key != "" {
		u["externalId"] = key
	}
	f.users[u.id()] = u
	f.order = append(f.order, u.id())
}

// mixture is users of every kind.
func mixture(n int) []sdk.User {
	users := people(1, n)
	for i := range users {
		u := &users[i]
		switch i % 5 {
		case 1:
			u.Phone, u.PhoneVerified = "+3620123456"+string(rune('0'+i%10)), new(true)
		case 2:
			u.OtherEmails = []sdk.Address{{Email: "second." + u.Email, Verified: new(true)}}
		case 3:
			u.GivenName, u.FamilyName = "", ""
			u.Roles = map[string][]string{"public": {"editor"}}
		case 4:
			u.Username, u.Email = `o"dd\name+`+u.ID[30:], ""
			u.Roles = map[string][]string{"public": {"admin", "editor"}}
		}
	}
	return users
}

// TestTraps moves the same users into servers that each have their own way of being
// difficult, and holds each result against the plan: every user has an outcome and
// one account, nothing is lost but what the server cannot keep, a second run
// writes nothing, and an undo leaves what was there before.
func TestTraps(t *testing.T) {
	t.Parallel()
	bulk := func(p profile) profile { p.bulk = true; return p }
	for name, test := range map[string]struct {
		profile profile
		config  func(*Config)
	}{
		"strict":      {profile: profile{refuseUnknown: true}},
		"strict bulk": {profile: bulk(profile{refuseUnknown: true, maxOps: 1000})},
		"extension":   {profile: profile{refuseUnknown: true, extension: true}},

		"1 filter ignored":                           {profile: profile{ignoreFilter: true}},
		"1 filter ignored, said so, big list":        {profile: profile{ignoreFilter: true, claimsNoFilter: true, pageCap: 7}},
		"2 filter answers 200 and nobody":            {profile: profile{emptyFilter: true}},
		"2 no filter":                                {profile: profile{noFilter: true}},
		"2 externalId cannot be searched":            {profile: profile{noKeyFilter: true}, config: func(c *Config) { c.Lookup = byFilter }},
		"1 search for externalId ignored":            {profile: profile{ignoreKeyFilter: true}, config: func(c *Config) { c.Lookup = byFilter }},
		"1 search for externalId ignored, bulk":      {profile: bulk(profile{ignoreKeyFilter: true, shortBy: 3})},
		"51 endpoints with the whole path":           {profile: profile{prefix: "/scim/v2"}},
		"51 endpoints as addresses":                  {profile: profile{prefix: "https://behind.invalid/internal/scim/v2"}},
		"4 case-sensitive filter":                    {profile: profile{caseFilter: true}, config: func(c *Config) { c.Lookup = byFilter }},
		"4 case-sensitive filter, by itself":         {profile: profile{caseFilter: true}},
		"6 filters only, with quotes in names":       {config: func(c *Config) { c.Lookup = byFilter }},
		"7 pages repeat":                             {profile: profile{repeatPage: true, pageCap: 10}},
		"7 startIndex ignored":                       {profile: profile{ignoreStart: true}},
		"8 no totals, itemsPerPage made up":          {profile: profile{noTotal: true, bigItems: true, pageCap: 6}},
		"9 no pages":                                 {profile: profile{noPages: true}},
		"5 filters by POST only":                     {profile: profile{filterByPost: true}, config: func(c *Config) { c.Lookup = byFilter }},
		"5 filters by POST only, addresses":          {profile: profile{filterByPost: true, sensitive: true}, config: func(c *Config) { c.Lookup = byFilter }},
		"9 attributes cannot be chosen":              {profile: profile{ignoreFilter: true, refuseAttributes: true, pageCap: 7}},
		"9 size of pages cannot be chosen":           {profile: profile{ignoreFilter: true, refuseCount: true, pageCap: 7}},
		"9 pages end early":                          {profile: bulk(profile{startCap: 5, pageCap: 3})},
		"cursors":                                    {profile: profile{cursor: true, pageCap: 6}},
		"10 advertised 1000, takes 10":               {profile: bulk(profile{maxOps: 1000, hardOps: 10})},
		"11 absurd payload limit":                    {profile: bulk(profile{maxOps: 100, maxBytes: 1024})},
		"11 one operation":                           {profile: bulk(profile{maxOps: 1})},
		"bytes obeyed":                               {profile: bulk(profile{maxOps: 1000, maxBytes: leastPayload + 1})},
		"12 too many is a 400":                       {profile: bulk(profile{maxOps: 1000, hardOps: 5, tooManyAs400: true})},
		"13 reply with status 400":                   {profile: bulk(profile{bulkStatus400: true})},
		"14 short replies":                           {profile: bulk(profile{shortBy: 3})},
		"14 short replies without externalId":        {profile: bulk(profile{shortBy: 3, noKeyFilter: true})},
		"16 the server stops after an error":         {profile: bulk(profile{stopAfter: 1})},
		"16 what was skipped is listed":              {profile: bulk(profile{stopAfter: 1, listSkipped: true, bulkStatus400: true})},
		"24 the whole request fails late":            {profile: bulk(profile{bulkLate: true})},
		"17 results reordered":                       {profile: bulk(profile{reorder: true})},
		"18 status is a number":                      {profile: bulk(profile{numberStatus: true})},
		"18 status is an object":                     {profile: bulk(profile{objectStatus: true, lowerOperations: true})},
		"18 status is a line, response is text":      {profile: bulk(profile{lineStatus: true, textAnswer: true})},
		"18 errors without bulkId":                   {profile: bulk(profile{noBulkIDOnError: true})},
		"19 relative location":                       {profile: bulk(profile{relativeLocation: true})},
		"19 no location in bulk":                     {profile: bulk(profile{noLocation: true})},
		"19 no body, relative location":              {profile: profile{noBody: true, relativeLocation: true}},
		"19 neither body nor location":               {profile: profile{noBody: true, noLocation: true}},
		"19 ids in locations only":                   {profile: bulk(profile{idInMeta: true})},
		"20 ids with slashes":                        {profile: bulk(profile{idPrefix: "org/a b+"})},
		"27 unknown attributes refused":              {profile: profile{refuseUnknown: true, silentAboutUser: true}},
		"28 attributes dropped":                      {profile: profile{drop: []string{"displayName", "phoneNumbers", "name"}}},
		"28 attributes dropped, bulk":                {profile: bulk(profile{drop: []string{"displayName", "phoneNumbers"}})},
		"28 echoed and dropped":                      {profile: profile{echo: true, noKeys: true, lastEmail: true, drop: []string{"displayName"}, membersOnRequest: true, putNeedsID: true}},
		"19 location of another host, 200":           {profile: profile{noBody: true, otherHost: true, with200: true}},
		"28 externalId dropped":                      {profile: profile{noKeys: true}},
		"31 one e-mail kept":                         {profile: bulk(profile{oneEmail: true})},
		"31 the last e-mail kept":                    {profile: profile{lastEmail: true}},
		"31 the last e-mail kept, bulk":              {profile: bulk(profile{lastEmail: true})},
		"33 names required":                          {profile: profile{namesRequired: true}, config: func(c *Config) { c.NameFallback = "username" }},
		"36, 38 conflict without a body":             {profile: profile{emptyConflict: true}},
		"38 conflict is a 400":                       {profile: profile{conflict400: true}},
		"38 conflict is a 500":                       {profile: bulk(profile{conflict500: true})},
		"39 PUT needs the id":                        {profile: profile{noPatch: true, putNeedsID: true}},
		"41 PATCH without paths":                     {profile: profile{noPaths: true}},
		"41 PATCH with paths is forgotten":           {profile: profile{deafToPaths: true}},
		"43 PATCH answers with a body":               {profile: profile{patchBody: true}},
		"44 values rewritten":                        {profile: profile{reformatPhone: true, addAttributes: true}},
		"44 values rewritten, bulk":                  {profile: bulk(profile{reformatPhone: true, addAttributes: true})},
		"45 versions demanded":                       {profile: profile{etags: true}},
		"45 somebody else writes, too":               {profile: profile{etags: true, racing: 1}},
		"46 one member at a time":                    {profile: bulk(profile{chunk: 1})},
		"46 no value paths in groups":                {profile: profile{noMemberPath: true}},
		"47 members hidden":                          {profile: profile{hideMembers: true}},
		"47 members on request":                      {profile: bulk(profile{membersOnRequest: true})},
		"50 application/json only":                   {profile: bulk(profile{plainOnly: true})},
		"50 another type is an empty body":           {profile: profile{plainSilently: true}},
		"50 another type is an empty body, bulk":     {profile: bulk(profile{plainSilently: true})},
		"52 plural configuration":                    {profile: bulk(profile{pluralConfig: true})},
		"52 no discovery":                            {profile: profile{noDiscovery: true}},
		"52 bare lists":                              {profile: profile{bareLists: true}},
		"54 throttled":                               {profile: profile{throttle: 5}},
		"54 throttled, date":                         {profile: bulk(profile{throttle: 3, dateHint: true})},
		"54 throttled without a hint":                {profile: bulk(profile{throttleNoHint: 3})},
		"54 unavailable":                             {profile: profile{unavailable: 4}},
		"55 connection lost after the work":          {profile: profile{hangUp: 6}},
		"55 connection lost after the work, bulk":    {profile: bulk(profile{hangUp: 2})},
		"55 503 after the work":                      {profile: profile{late503: 4}},
		"55 503 after the work, bulk":                {profile: bulk(profile{late503: 2})},
		"55 503 after the work, no externalId":       {profile: profile{late503: 3, noKeys: true}},
		"55 503 after the work, no externalId, bulk": {profile: bulk(profile{late503: 1, noKeys: true, maxOps: 1000})},
		"several: Bulk that lies in every way": {profile: profile{
			bulk: true, maxOps: 1000, bulkStatus400: true, stopAfter: 1, listSkipped: true, objectStatus: true, lowerOperations: true, reorder: true, relativeLocation: true,
			idPrefix: "org/a b+", stringBooleans: true, conflict500: true, noKeyFilter: true, membersOnRequest: true, reformatPhone: true, lastEmail: true, hangUp: 2, lag: 2,
		}},
		"several: no Bulk, no PATCH, no externalId": {profile: profile{
			pluralConfig: true, filterByPost: true, sensitive: true, plainSilently: true, noPatch: true, putNeedsID: true, chunk: 1, lowerKeys: true, echo: true, noKeys: true,
			drop: []string{"displayName"}, emptyConflict: true, noTotal: true, startCap: 50, pageCap: 20, late503: 2, throttle: 3, dateHint: true, addAttributes: true,
		}},
		"several: nothing said, Bulk on": {
			profile: profile{
				noDiscovery: true, caseFilter: true, stringBooleans: true, repeatPage: true, pageCap: 10, bulk: true, shortBy: 1, with200: true, otherHost: true, noBody: true, lag: 1,
			},
			config: func(c *Config) { c.Bulk = on },
		},
		"several: promises only": {profile: profile{
			noFilter: true, bulk: true, noLocation: true, lineStatus: true, textAnswer: true, accepted202: true, hideMembers: true, noPaths: true, bulkLate: true,
		}},
		"56 operations are throttled":  {profile: bulk(profile{quota: 3})},
		"46 groups without externalId": {profile: profile{strictGroups: true}},
		"58 letters of names":          {profile: profile{lowerKeys: true}},
		"59 booleans as text":          {profile: profile{stringBooleans: true}},
		"60 asynchronous":              {profile: profile{accepted202: true}},
		"seen late":                    {profile: bulk(profile{lag: 2, shortBy: 2})},
		"Bulk promised and absent":     {profile: bulk(profile{bulk501: true})},
		"no groups":                    {profile: profile{noGroups: true}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			trap(t, test.profile, test.config)
		})
	}
}

func trap(t *testing.T, p profile, change func(*Config)) {
	f := newFake(t, p)
	f.there("1", "somebody@else.example", "")
	f.there("2", "User2@Example.com", "foreign-key") // has the name of the second user
	config := f.settings()
	if change != nil {
		change(&config)
	}
	j := &memory{}
	target := openLive(t, config, j)
	users := mixture(40)
	users[6].Username = "refuse-me@example.com"

	wanted := plan(t, target, users)
	if len(f.writes) > 0 {
		t.Fatalf("a plan writes: %v", f.writes)
	}
	b := load(t, target, users)
	for i, u := range users {
		got, want := b.Of(u.SourceID), "created"
		switch i {
		case 1:
			want = "rejected load.username_conflict"
		case 6:
			want = "rejected load.target_refused"
		}
		if got != want {
			t.Errorf("user %d is %s (%s), want %s", i, got, b.ByID[u.SourceID].Detail, want)
		}
		if planned := wanted.Of(u.SourceID); planned != got && i != 6 && (!p.caseFilter || config.Lookup != byFilter) {
			t.Errorf("user %d was planned as %s and is %s", i, planned, got)
		}
	}
	if t.Failed() {
		t.FailNow()
	}
	f.check(t, users, b)

	// A second run, and one of another process.
	for _, again := range []*live{target, openLive(t, config, j)} {
		f.writes = nil
		rest := slices.Delete(slices.Delete(known(users, b), 6, 7), 1, 2)
		for _, u := range rest {
			if got := plan(t, again, []sdk.User{u}).ByID[u.SourceID]; got.Action != sdk.Unchanged {
				t.Fatalf("the second run finds %s %s %v", got.Action, got.Detail, got.Fields)
			}
		}
		second := load(t, again, rest)
		if n := second.Counts()[sdk.Unchanged]; n != len(rest) || len(f.writes) > 0 {
			t.Fatalf("a second run: %v, writes %v", second.Counts(), f.writes)
		}
	}

	others := f.users[b.ByID[users[0].SourceID].TargetID]
	others["nickName"] = "of others"
	changed := slices.Clone(known(users, b)[:1])
	changed[0].GivenName, changed[0].Email = "Grace", "grace@example.com"
	updated := load(t, target, changed)
	if got := updated.ByID[changed[0].SourceID]; got.Action != sdk.Updated && !slices.Contains(p.drop, "name") {
		t.Errorf("a changed user is %s %s: %s", got.Action, got.Code, got.Detail)
	}
	for source, c := range updated.ByID {
		if c.Action == sdk.Updated {
			o := b.ByID[source]
			o.State = c.State // an account that was made stays one that was made
			b.ByID[source] = o
			if again := load(t, target, known(changed, updated)); again.Counts()[sdk.Unchanged] != 1 {
				t.Errorf("an update that is repeated: %+v", again.ByID)
			}
			if f.users[c.TargetID].text("nickName") != "of others" {
				t.Error("an update has taken what others have added")
			}
			email, _ := objectOf(elements(f.users[c.TargetID].get("emails"))[0])
			if email.text("value") != "grace@example.com" || len(elements(f.users[c.TargetID].get("emails"))) != 1 {
				t.Errorf("after the update the addresses are %v", f.users[c.TargetID].get("emails"))
			}
		}
	}

	f.users[others.id()].unset("nickName")
	gone := undo(t, target, accounts(b))
	if n := gone.Counts()[sdk.Deleted]; n != 38 || len(f.users) != 2 {
		for source, c := range gone.ByID {
			if c.Action != sdk.Deleted {
				t.Logf("%s: %s %s %s", source, c.Action, c.Code, c.Detail)
			}
		}
		t.Errorf("undo: %v, left %d accounts", gone.Counts(), len(f.users))
	}
}

// check holds the server against the plan.
func (f *fake) check(t *testing.T, users []sdk.User, b *book) {
	t.Helper()
	if len(f.users) != 40 {
		t.Errorf("%d accounts, want 38 new and 2 that were there", len(f.users))
	}
	if f.users["there-2"].text("externalId") != "foreign-key" || len(f.users["there-1"]) != 4 {
		t.Errorf("accounts of others have changed: %v", f.users["there-2"])
	}
	memberships := map[string][]string{}
	for _, g := range f.groups {
		for _, m := range elements(g["members"]) {
			o, _ := objectOf(m)
			memberships[o.text("value")] = append(memberships[o.text("value")], g.text("displayName"))
		}
	}
	for _, u := range users {
		o := b.ByID[u.SourceID]
		if o.Action != sdk.Created {
			continue
		}
		held := f.users[o.TargetID]
		if held == nil {
			t.Errorf("%s: there is no account %q", u.SourceID, o.TargetID)
			continue
		}
		if !strings.EqualFold(held.text("userName"), u.Username) || (!f.noKeys && held.text("externalId") != u.ID) {
			t.Errorf("%s became %v", u.SourceID, held)
		}
		var roles []string
		if !f.noGroups {
			roles = slices.Sorted(slices.Values(u.Roles["public"]))
		}
		if got := slices.Sorted(slices.Values(memberships[o.TargetID])); !slices.Equal(got, roles) {
			t.Errorf("%s is in groups %v, want %v", u.SourceID, got, roles)
		}
		if all := elements(held.get("emails")); u.Email != "" && valueOf(all[0]) != u.Email {
			t.Errorf("%s has the addresses %v", u.SourceID, all)
		}
		if held.get("password") != nil {
			t.Errorf("%s has a password", u.SourceID)
		}
	}
}
