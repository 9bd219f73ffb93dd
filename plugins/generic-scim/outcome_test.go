package scim

import (
	"bytes"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/stetl/stetl/core/sdk"
)

// An account of the same name that somebody else made is never taken over.
func TestForeignAccounts(t *testing.T) {
	t.Parallel()
	for name, p := range map[string]profile{
		"35 POST takes over what is there":  {adoptOnPost: true},
		"36 the account is hidden":          {hideExisting: true},
		"36 the account is hidden, no body": {hideExisting: true, emptyConflict: true},
		"36 the account is hidden, in bulk": {hideExisting: true, bulk: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFake(t, p)
			f.there("1", "user1@example.com", "")
			b := load(t, openLive(t, f.settings(), nil), people(1, 4))
			if got := b.Of("source-1"); got != "rejected load.username_conflict" {
				t.Errorf("the user is %s", got)
			}
			if n := b.Counts()[sdk.Created]; n != 3 || len(f.users["there-1"]) != 4 {
				t.Errorf("%d created; the account of others: %v", n, f.users["there-1"])
			}
		})
	}
}

func TestAdoptIsNeverSilent(t *testing.T) {
	t.Parallel()
	f := newFake(t, profile{})
	f.there("1", "user1@example.com", "")
	config := f.settings()
	config.Adopt = "username"
	j := &memory{}
	target := openLive(t, config, j)
	users := people(1, 1)
	b := load(t, target, users)
	if got := b.Of("source-1"); got != "skipped load.exists_differs" || len(f.writes) > 0 {
		t.Fatalf("the user is %s, writes %v", got, f.writes)
	}
	users[0].Existing, users[0].Prior.TargetID = sdk.Update, "there-1"
	planned := plan(t, target, users).ByID["source-1"]
	users[0].Expect = planned.State
	b = load(t, target, users)
	if got := b.ByID["source-1"]; got.Action != sdk.Updated || got.Before == nil || f.users["there-1"].text("externalId") != users[0].ID {
		t.Fatalf("the user is %s %s", got.Action, got.Detail)
	}
	if u := undo(t, target, accounts(b)); u.Of("source-1") != "updated" || len(f.users["there-1"]) > 5 || f.users["there-1"].text("externalId") != "" {
		t.Errorf("undo: %s, the account is %v", u.Of("source-1"), f.users["there-1"])
	}
}

// 1: an empty server has nothing to show that it ignores filters. Who is not found
// then must not be sent twice.
func TestFiltersOfAnEmptyServer(t *testing.T) {
	t.Parallel()
	for name, p := range map[string]profile{
		"ignored, Bulk":           {ignoreFilter: true, bulk: true, late503: 1, twice: true},
		"externalId ignored":      {ignoreKeyFilter: true, bulk: true, late503: 1, twice: true},
		"ignored, one page":       {ignoreFilter: true, late503: 5, twice: true},
		"ignored, small pages":    {ignoreFilter: true, late503: 5, pageCap: 5, twice: true},
		"externalId, small pages": {ignoreKeyFilter: true, late503: 5, pageCap: 5, twice: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFake(t, p)
			b := load(t, openLive(t, f.settings(), &memory{}), people(1, 60))
			if b.Counts()[sdk.Created] != 60 || len(f.users) != 60 {
				t.Errorf("%v, %d accounts", b.Counts(), len(f.users))
			}
		})
	}
}

// 37: an id without an account is not a success.
func TestPhantoms(t *testing.T) {
	t.Parallel()
	f := newFake(t, profile{phantom: 1, noBody: true})
	b := load(t, openLive(t, f.settings(), nil), people(1, 1))
	for _, u := range people(1, 1) {
		o := b.ByID[u.SourceID]
		if o.Action != sdk.Created || f.users[o.TargetID] == nil {
			t.Errorf("%s is %s with id %q, which is there: %v", u.SourceID, o.Action, o.TargetID, f.users[o.TargetID] != nil)
		}
	}
}

func TestUndoSparesWhatOthersHaveChanged(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(resource){
		"a value":      func(r resource) { r["displayName"] = "Somebody" },
		"an addition":  func(r resource) { r["title"] = "Director" },
		"switched off": func(r resource) { r["active"] = false },
		"an address":   func(r resource) { r["emails"] = append(elements(r["emails"]), resource{"value": "new@example.com"}) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFake(t, profile{bulk: true, addAttributes: true})
			target := openLive(t, f.settings(), &memory{})
			b := load(t, target, people(1, 5))
			change(f.users[b.ByID["source-2"].TargetID])
			u := undo(t, target, accounts(b))
			if u.Of("source-2") != "skipped load.moved" || u.Counts()[sdk.Deleted] != 4 || len(f.users) != 1 {
				t.Errorf("%v, the changed one is %s", u.Counts(), u.Of("source-2"))
			}
			if again := undo(t, target, accounts(b)); again.Counts()[sdk.Unchanged] != 4 {
				t.Errorf("a second undo: %v", again.Counts())
			}
		})
	}
}

// A server that accepts an update and forgets it has not taken it.
func TestUpdateWithoutEffect(t *testing.T) {
	t.Parallel()
	f := newFake(t, profile{deaf: true})
	target := openLive(t, f.settings(), &memory{})
	users := people(1, 1)
	b := load(t, target, users)
	users = known(users, b)
	users[0].FamilyName = "Hopper"
	if got := load(t, target, users).ByID["source-1"]; got.Action != sdk.Rejected || got.Code != sdk.CodeTargetRefused || !strings.Contains(got.Detail, "changes nothing") {
		t.Errorf("%s %s: %s", got.Action, got.Code, got.Detail)
	}
	if got := plan(t, target, users).Of("source-1"); got != "updated" {
		t.Errorf("then it is %s", got)
	}
}

func TestUndoSwitchesOffWhereItMustNotDelete(t *testing.T) {
	t.Parallel()
	f := newFake(t, profile{})
	config := f.settings()
	config.Undo = "deactivate"
	target := openLive(t, config, &memory{})
	b := load(t, target, people(1, 2))
	u := undo(t, target, accounts(b))
	if u.Counts()[sdk.Deleted] != 2 || len(f.users) != 2 || truth(f.users["id-1"]["active"]) {
		t.Errorf("%v, %v", u.Counts(), f.users)
	}
}

func TestDriftAndConditions(t *testing.T) {
	t.Parallel()
	f := newFake(t, profile{})
	target := openLive(t, f.settings(), &memory{})
	users := people(1, 1)
	users[0].Phone = "+36201234567"
	b := load(t, target, users)
	id := b.ByID["source-1"].TargetID
	users = known(users, b)

	users[0].FamilyName, users[0].Phone = "Hopper", ""
	p := plan(t, target, users).ByID["source-1"]
	var names []string
	for _, c := range p.Fields {
		if c.Drift {
			t.Errorf("%s counts as drift", c.Field)
		}
		names = append(names, c.Field)
	}
	if want := []string{"displayname", "name.familyname", "name.formatted", "phonenumbers"}; !slices.Equal(names, want) {
		t.Errorf("differences %v, want %v", names, want)
	}
	users[0].Expect = p.State

	f.users[id]["displayName"] = "Changed at the provider"
	if got := plan(t, target, users).ByID["source-1"]; !slices.ContainsFunc(got.Fields, func(c sdk.FieldChange) bool { return c.Drift && c.Field == "displayname" }) {
		t.Errorf("drift is not seen: %+v", got.Fields)
	}
	f.writes = nil
	if got := load(t, target, users).Of("source-1"); got != "rejected load.moved" || len(f.writes) > 0 {
		t.Errorf("an account that has moved is %s, writes %v", got, f.writes)
	}
	users[0].Expect = nil
	if got := load(t, target, users).Of("source-1"); got != "updated" || f.users[id].get("phoneNumbers") != nil || f.users[id].text("displayName") != "Ada Hopper" {
		t.Errorf("%s: %v", got, f.users[id])
	}
}

// Another process was killed after it had sent the user.
func TestInDoubt(t *testing.T) {
	t.Parallel()
	f := newFake(t, profile{})
	load(t, openLive(t, f.settings(), nil), people(1, 2))
	users := people(1, 3)
	for i := range users {
		users[i].Prior.InDoubt = true
	}
	f.writes = nil
	b := load(t, openLive(t, f.settings(), nil), users)
	if b.Of("source-1") != "unchanged" || b.Of("source-2") != "unchanged" || b.Of("source-3") != "created" || len(f.users) != 3 {
		t.Errorf("%+v", b.ByID)
	}
}

func TestHashesTakeAStatement(t *testing.T) {
	t.Parallel()
	users := people(1, 1)
	target := newFiles(Config{Mode: modeFiles, Out: "x"}.withDefaults())
	if d, _ := target.mapper.user(&users[0]); !d.secret.IsZero() {
		t.Error("a hash would be sent")
	}
	config := Config{Mode: modeFiles, Out: "x", Password: Password{Templates: map[string]string{"bcrypt": "{bcrypt}{hash}"}}}
	if _, err := newTarget(config, sdk.Env{}); err == nil || !strings.Contains(err.Error(), "hashes_accepted") {
		t.Errorf("templates alone: %v", err)
	}
	config.Password.HashesAccepted = true
	target = newFiles(config.withDefaults())
	d, _ := target.mapper.user(&users[0])
	if got := d.secret.Reveal(); got != "{bcrypt}"+bcryptHash {
		t.Errorf("password %q", got)
	}
	if caps := target.Capabilities(); !caps.Accepts(users[0].Password) {
		t.Error("the capabilities do not accept bcrypt")
	}
	if caps := newFiles(Config{Mode: modeFiles}.withDefaults()).Capabilities(); caps.Accepts(users[0].Password) {
		t.Error("without a statement the capabilities accept bcrypt")
	}
}

// Nothing goes to a host that the server names.
func TestNoOtherHost(t *testing.T) {
	t.Parallel()
	called := false
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { called = true }))
	defer other.Close()
	f := newFake(t, profile{redirectWrites: other.URL})
	b := newBook(t)
	err := openLive(t, f.settings(), nil).Load(t.Context(), people(1, 1), b)
	if err == nil || !strings.Contains(err.Error(), "redirect") || called || len(b.ByID) > 0 {
		t.Errorf("%v, called %v, outcomes %v", err, called, b.ByID)
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	f := newFake(t, profile{noGroups: true})
	needs := sdk.Needs{Roles: []string{"admin"}, Providers: []string{"google"}}
	codes := func(c Config) (out []string) {
		target, err := newLive(c.withDefaults(), sdk.Env{Log: slog.New(slog.DiscardHandler), UserAgent: "stetl/test"})
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range target.Check(t.Context(), needs) {
			out = append(out, d.Severity.String()+" "+string(d.Code))
		}
		slices.Sort(out)
		return out
	}
	if got, want := codes(f.settings()), []string{"warning scim.extension_undeclared", "warning scim.groups_missing"}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	wrong := f.settings()
	wrong.Auth.Token = sdk.NewSecret("wrong-token")
	if got := codes(wrong); !slices.Equal(got, []string{"error scim.login_refused"}) {
		t.Errorf("wrong token: %v", got)
	}
	wrong = f.settings()
	wrong.URL += "/wrong"
	if got := codes(wrong); !slices.Equal(got, []string{"error scim.not_scim"}) {
		t.Errorf("wrong address: %v", got)
	}
	hashes := f.settings()
	hashes.Password = Password{HashesAccepted: true, Templates: map[string]string{"bcrypt": "{hash}"}}
	if got := codes(hashes); !slices.Contains(got, "error scim.password_undeclared") || !slices.Contains(got, "warning scim.passwords_as_hashes") {
		t.Errorf("hashes: %v", got)
	}
	if len(f.writes) > 0 {
		t.Errorf("a check writes: %v", f.writes)
	}
}

// Neither the token nor a hash that the server sends back reaches a log or an outcome.
func TestNoSecretComesBack(t *testing.T) {
	t.Parallel()
	secretHash := bcryptHash
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			var b bytes.Buffer
			_, _ = b.ReadFrom(r.Body)
			w.WriteHeader(http.StatusBadRequest)
			_, _ = w.Write([]byte(`{"detail":"no: ` + strings.ReplaceAll(r.Header.Get("Authorization")+" "+secretHash, `"`, "") + `"}`))
			return
		}
		_, _ = w.Write([]byte(`{"totalResults":0,"Resources":[]}`))
	}))
	defer s.Close()
	var log bytes.Buffer
	config := Config{URL: s.URL, Auth: Auth{Type: "bearer", Token: sdk.NewSecret(fakeToken)}, Password: Password{HashesAccepted: true, Templates: map[string]string{"bcrypt": "{hash}"}}}.withDefaults()
	target, err := newLive(config, sdk.Env{Log: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})), UserAgent: "stetl/test"})
	if err != nil {
		t.Fatal(err)
	}
	b := load(t, target, people(1, 1))
	o := b.ByID["source-1"]
	if o.Action != sdk.Rejected || !strings.Contains(o.Detail, "***") {
		t.Errorf("%s: %s", o.Action, o.Detail)
	}
	for _, secret := range []string{fakeToken, bcryptHash} {
		if strings.Contains(o.Detail+log.String(), secret) {
			t.Errorf("a secret is in the detail or the log: %s\n%s", o.Detail, log.String())
		}
	}
}

func TestPresets(t *testing.T) {
	t.Parallel()
	for _, name := range presetNames() {
		p, ok := readPreset(name)
		if !ok {
			t.Errorf("%s cannot be read", name)
		}
		if p.Note == "" && p.Refuse == "" {
			t.Errorf("%s says nothing to the operator", name)
		}
		c := Config{URL: "https://x.example/scim", Auth: Auth{Token: sdk.NewSecret("token")}, Preset: name}.withDefaults()
		if err := c.validate().Err(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := newTarget(c, sdk.Env{}); (err != nil) != (p.Refuse != "") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if c := (Config{Preset: "slack", RateLimit: 1}).withDefaults(); c.RateLimit != 1 || c.Bulk != off {
		t.Errorf("the configuration does not win over the preset: %+v", c.RateLimit)
	}
}

// SCIM cannot tell whether a provider mails people, so that the configuration does.
func TestMailsAsConfigured(t *testing.T) {
	t.Parallel()
	for setting, want := range map[string][]sdk.Mailing{"": nil, never: nil, "created": {sdk.MailsCreated}} {
		if got := (&live{config: Config{Mails: setting}.withDefaults()}).Mails(); !slices.Equal(got, want) {
			t.Errorf("mails: %s gives %v, want %v", setting, got, want)
		}
	}
}
