//go:build unix

package main

import (
	"context"
	"encoding/json"
	"io"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/crypto/bcrypt"

	"github.com/stetl/stetl/core/canonical"
	"github.com/stetl/stetl/core/sdk"
	"github.com/stetl/stetl/core/sdk/conformance"
	"github.com/stetl/stetl/internal/targettest"
	"github.com/stetl/stetl/internal/testserver/kratos"
)

// settings fit the identity schema of the test server.
func settings(admin, public string) config {
	return config{
		AdminURL: admin, PublicURL: public, Schema: "default",
		Traits:    traits{Email: "email", Username: "username", Phone: "phone", GivenName: "name.first", FamilyName: "name.last"},
		Providers: map[string]string{"google-workspaces": "google"}, SignerKey: sdk.NewSecret("c2lnbmVy"),
	}
}

// TestConformance tries every rule on a real server, behind a reverse proxy that counts what
// could change something, throttles and cuts connections.
func TestConformance(t *testing.T) {
	t.Parallel()
	s := kratos.Start(t)
	at, err := url.Parse(s.Admin)
	if err != nil {
		t.Fatal(err)
	}
	front := conformance.NewFront(&httputil.ReverseProxy{
		Rewrite:  func(r *httputil.ProxyRequest) { r.SetURL(at) },
		ErrorLog: log.New(io.Discard, "", 0), // of connections that a rule cuts
	})
	proxy := httptest.NewServer(front)
	t.Cleanup(proxy.Close)
	conformance.Test(t, conformance.Suite{
		Start: conformance.InProcess(plugin(), map[string]any{
			"admin_url": proxy.URL, "public_url": s.Public,
			"traits": map[string]any{"username": "username", "phone": "phone", "given_name": "name.first", "family_name": "name.last"},
		}),
		Front:   front,
		Inspect: func(context.Context) (string, error) { return s.Stored(t), nil }, //nolint:contextcheck // it ends with the test
	})
}

// opened is the target on a server.
func opened(t *testing.T, c config) *target {
	t.Helper()
	opened, err := open(t.Context(), c, sdk.Env{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return opened.(*target)
}

// shown is what of an identity does not change by itself.
func shown(t *testing.T, s *kratos.Server, id string) string {
	t.Helper()
	all, err := s.Identity(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]any{}
	for _, key := range []string{"schema_id", "state", "traits", "metadata_public", "metadata_admin"} {
		out[key] = all[key]
	}
	credentials := all["credentials"].(map[string]any)
	out["hash"] = credentials["password"].(map[string]any)["config"]
	for kind, c := range credentials {
		out[kind] = c.(map[string]any)["identifiers"]
	}
	var addresses []string
	for _, a := range all["verifiable_addresses"].([]any) {
		at := a.(map[string]any)
		addresses = append(addresses, strings.Join([]string{at["via"].(string), at["value"].(string), at["status"].(string)}, " "))
	}
	slices.Sort(addresses)
	out["addresses"] = addresses
	text, err := json.MarshalIndent(out, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestRealKratos is about what the kit cannot know: how Kratos keeps people.
func TestRealKratos(t *testing.T) {
	t.Parallel()
	s := kratos.Start(t)
	target := opened(t, settings(s.Admin, s.Public))

	t.Run("an update and its undo", func(t *testing.T) {
		hash, err := bcrypt.GenerateFromPassword([]byte("testpass"), bcrypt.MinCost)
		if err != nil {
			t.Fatal(err)
		}
		ada := targettest.Person(1, func(u *sdk.User) {
			u.Password = canonical.ParsePasswordHash(string(hash))
			u.GivenName, u.FamilyName, u.Phone, u.PhoneVerified = "Ada", "Example", "+12025550101", new(true)
			u.Identities = []sdk.Identity{{Provider: "google-workspaces", Subject: "g:1"}, {Provider: "github", Subject: "2"}}
			u.Metadata = json.RawMessage(`{"n": 9007199254740993, "plan": "pro"}`)
		})
		loaded := targettest.Load(t, target, []sdk.User{ada}).ByID[ada.SourceID]
		if loaded.Action != sdk.Created {
			t.Fatalf("%s %s %s", loaded.Action, loaded.Code, loaded.Detail)
		}
		// Somebody else has a use for the metadata, too.
		theirs := []map[string]any{{"op": "add", "path": "/metadata_public/theme", "value": "dark"}}
		if err := target.api.call(t.Context(), http.MethodPatch, item(loaded.TargetID), theirs, nil); err != nil {
			t.Fatal(err)
		}
		first := shown(t, s, loaded.TargetID)
		for _, want := range []string{`"google:g:1"`, `"github:2"`, `"supertokens:` + ada.ID, `"email user1@example.com completed"`, `"sms +12025550101 completed"`, `9007199254740993`} {
			if !strings.Contains(first, want) {
				t.Errorf("the identity lacks %s:\n%s", want, first)
			}
		}
		if id, err := s.SignIn(t.Context(), ada.Email, "testpass"); err != nil || id != loaded.TargetID {
			t.Errorf("the old password: %q, %v", id, err)
		}

		changed := ada
		changed.Email, changed.EmailVerified, changed.FamilyName, changed.Phone, changed.PhoneVerified = "lovelace@example.com", new(false), "Lovelace", "", nil
		changed.Identities = []sdk.Identity{{Provider: "github", Subject: "2"}, {Provider: "gitlab", Subject: "3"}}
		changed.Metadata = json.RawMessage(`{"plan": "free"}`)
		changed.Password = canonical.ParsePasswordHash(targettest.Argon2)
		changed.Existing, changed.Prior = sdk.Update, sdk.Prior{TargetID: loaded.TargetID, State: loaded.State}
		planned := targettest.Plan(t, target, []sdk.User{changed}).ByID[ada.SourceID]
		updated := targettest.Load(t, target, []sdk.User{changed}).ByID[ada.SourceID]
		if planned.Action != sdk.Updated || updated.Action != sdk.Updated {
			t.Fatalf("planned %s, then %s %s", planned.Action, updated.Action, updated.Detail)
		}
		second := shown(t, s, loaded.TargetID)
		for _, want := range []string{`"email lovelace@example.com pending"`, `"github:2"`, `"gitlab:3"`, `"theme": "dark"`, `"plan": "free"`, "argon2id"} {
			if !strings.Contains(second, want) {
				t.Errorf("after the update, the identity lacks %s:\n%s", want, second)
			}
		}
		if strings.Contains(second, "google:") || strings.Contains(second, "sms ") {
			t.Errorf("the update leaves what was taken away:\n%s", second)
		}
		undone := targettest.Undo(t, target, []sdk.Account{{SourceID: ada.SourceID, TargetID: loaded.TargetID, State: updated.State, Before: updated.Before}})
		if undone.ByID[ada.SourceID].Action != sdk.Updated {
			t.Errorf("the undo: %s", undone.Of(ada.SourceID))
		}
		var before, after map[string]any
		if json.Unmarshal([]byte(first), &before) != nil || json.Unmarshal([]byte(shown(t, s, loaded.TargetID)), &after) != nil {
			t.Fatal("no JSON")
		}
		sorted := cmp.Transformer("sorted", func(all []any) map[any]bool {
			set := map[any]bool{}
			for _, one := range all {
				set[one] = true
			}
			return set
		})
		if diff := cmp.Diff(before, after, sorted); diff != "" {
			t.Errorf("the undo leaves something else (-before +after):\n%s", diff)
		}
	})

	// What Kratos refuses of one, it refuses of all in the request, and it says of others that
	// they are there when they are not.
	t.Run("who cannot be taken costs nobody else anything", func(t *testing.T) {
		stranger := targettest.Person(10)
		holder := targettest.Load(t, target, []sdk.User{stranger}).ByID[stranger.SourceID].TargetID
		users := targettest.People(11, 16)
		users[1].Email, users[1].Username = stranger.Email, stranger.Username // of whom a run has made
		users[3].Email, users[3].Username = users[0].Email, users[0].Username // of another of the batch
		users[4].GivenName = "nobody\x00can store this"
		book := targettest.Load(t, target, users)
		for _, i := range []int{0, 2, 5} {
			o := book.ByID[users[i].SourceID]
			if o.Action != sdk.Created {
				t.Errorf("a good one ends as %s %s %s", o.Action, o.Code, o.Detail)
			} else if _, err := s.Identity(t.Context(), o.TargetID); err != nil {
				t.Errorf("a good one is not there: %v", err)
			}
		}
		if o := book.ByID[users[1].SourceID]; o.Action != sdk.Rejected || o.Code != sdk.CodeEmailConflict || !strings.Contains(o.Detail, holder) {
			t.Errorf("whose address is taken ends as %s %s %s", o.Action, o.Code, o.Detail)
		}
		if o := book.ByID[users[3].SourceID]; o.Action != sdk.Rejected || o.Code != sdk.CodeEmailConflict {
			t.Errorf("who has the address of another of the batch ends as %s %s %s", o.Action, o.Code, o.Detail)
		}
		if o := book.ByID[users[4].SourceID]; o.Action != sdk.Rejected {
			t.Errorf("whom no database can store ends as %s %s %s", o.Action, o.Code, o.Detail)
		}
	})

	// The reason for reading back what was made.
	t.Run("what Kratos says is not so", func(t *testing.T) {
		stranger, other, taken := targettest.Person(20), targettest.Person(21), targettest.Person(22)
		targettest.Load(t, target, []sdk.User{stranger})
		taken.Email, taken.Username = stranger.Email, stranger.Username
		results, err := target.api.create(t.Context(), []creation{
			{&decision{user: &other, want: target.wanted(&other, nil)}, ""}, {&decision{user: &taken, want: target.wanted(&taken, nil)}, ""},
		})
		if err != nil || results[0].err != nil || !isStatus(results[1].err, http.StatusConflict) {
			t.Fatalf("%v, %v", results, err)
		}
		if made, err := (&loader{decider: &target.decider}).made(t.Context(), results); err != nil || len(made) != 0 {
			t.Errorf("it has made %v, %v: what target.go and docs/kratos.md say is over", made, err)
		}
	})

	t.Run("a check", func(t *testing.T) {
		for name, tt := range map[string]struct {
			change func(*config)
			want   sdk.Code
		}{
			"in order":          {func(*config) {}, ""},
			"another schema":    {func(c *config) { c.Schema = "none" }, codeSchema},
			"a missing trait":   {func(c *config) { c.Traits.Phone = "mobile" }, codeTrait},
			"no identifier":     {func(c *config) { c.Traits.Email, c.Traits.Username = "", "" }, codeIdentifier},
			"nobody answers":    {func(c *config) { c.AdminURL = "http://127.0.0.1:1" }, codeUnreachable},
			"something else is": {func(c *config) { c.AdminURL = c.PublicURL + "/nowhere" }, codeUnreachable},
		} {
			c := settings(s.Admin, s.Public)
			tt.change(&c)
			found := opened(t, c).Check(t.Context(), sdk.Needs{})
			if (tt.want == "") != (len(found) == 0) || len(found) > 0 && found[0].Code != tt.want {
				t.Errorf("%s: %v", name, found)
			}
		}
	})
}

// The formats are those that Kratos documents for imports.
func TestHashes(t *testing.T) {
	t.Parallel()
	target := opened(t, settings("http://127.0.0.1:1", "http://127.0.0.1:1"))
	for stored, want := range map[string]string{
		"":                "",
		targettest.Bcrypt: targettest.Bcrypt,
		"$argon2i$v=19$m=64,t=3,p=1$c29tZXNhbHRzYWx0$c29tZWRpZ2VzdHNvbWVkaWdlc3Q":  "$argon2i$v=19$m=64,t=3,p=1$c29tZXNhbHRzYWx0$c29tZWRpZ2VzdHNvbWVkaWdlc3Q",
		"$f_scrypt$4/NA6w==$c3RldGxzYWx0$m=14$r=8$s=Bw==":                          "$firescrypt$ln=14,r=8,p=1$c3RldGxzYWx0$4/NA6w==$Bw==$c2lnbmVy",
		"$argon2id$v=16$m=64,t=3,p=1$c29tZXNhbHRzYWx0$c29tZWRpZ2VzdHNvbWVkaWdlc3Q": "no: Kratos knows version 19 of argon2, and this is version 16",
		"something else": "no: Kratos knows no hashes of this kind",
	} {
		got, problem := target.hash(canonical.ParsePasswordHash(stored))
		if problem != "" {
			got = "no: " + problem
		}
		if got != want {
			t.Errorf("%s: %s, want %s", stored, got, want)
		}
	}
}

// Traits lie at any depth, and what is beside them stays.
func TestPaths(t *testing.T) {
	t.Parallel()
	o := object{"name": map[string]any{"first": "Ada", "title": "Countess"}, "n": json.Number("1")}
	o.set("name.first", "Grace")
	o.set("name.title", "")
	o.set("a.b.c", "deep")
	o.set("", "nowhere")
	if got := text(map[string]any(o)); got != `{"a":{"b":{"c":"deep"}},"n":1,"name":{"first":"Grace"}}` || o.get("a.b.c") != "deep" || o.get("n.x") != "" {
		t.Error(got)
	}
	o.set("a.b.c", "")
	if _, there := o["a"]; there {
		t.Error("an empty trait is left")
	}
}
