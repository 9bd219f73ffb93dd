package e2e_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stetl/stetl/core/pluginapi"
	"github.com/stetl/stetl/internal/testserver/testenv"
)

// The whole program with no flag set keeps, for every account, what migration tools are
// known to lose on the way: who has proven an address, the moment of joining to the
// millisecond, a password that is there and none that is not, and every identity as it
// is, however its ids look. What it writes is for its owner alone.
func TestNothingIsLostWithoutFlags(t *testing.T) {
	t.Parallel()
	testenv.Slow(t, "moves every fixture")
	dir := t.TempDir()
	config := filepath.Join(dir, "c.yaml")
	const fixture = "core-10.1.4"
	dump, err := filepath.Abs(filepath.Join(fixtures, fixture+".sql"))
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, config, "source: {dump: \""+dump+"\"}\ntarget: {plugin: keycloak, config: {mode: files, realm: r, out: ./out}}\n")
	r := runStetl(t, nil, "run", "--config", config, "--json")
	summary := r.report(t).Summary
	if r.code != exitRejects || summary.Accounted() != summary.Read {
		t.Fatalf("exit %d, %+v\n%s", r.code, summary, r.stderr)
	}
	type link struct {
		Provider string `json:"identityProvider"`
		UserID   string `json:"userId"`
	}
	type user struct {
		ID          string `json:"id"`
		Email       string `json:"email"`
		Verified    bool   `json:"emailVerified"`
		Created     int64  `json:"createdTimestamp"`
		Credentials []struct{ Type, SecretData string }
		Links       []link `json:"federatedIdentities"`
	}
	written := map[string]user{}
	files, err := filepath.Glob(filepath.Join(dir, "out", "*"))
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, path := range files {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: mode %v, %v", path, info.Mode(), err)
		}
		var f struct{ Users []user }
		if raw, err := os.ReadFile(path); err != nil || strings.Contains(path, "-users-") && json.Unmarshal(raw, &f) != nil {
			t.Fatalf("%s: %v", path, err)
		}
		for _, u := range f.Users {
			written[u.ID] = u
		}
	}
	var truth struct {
		Accounts []struct {
			AppID        string `json:"appId"`
			InternalID   string `json:"internalId"`
			VisibleID    string `json:"visibleId"`
			TimeJoinedMs int64  `json:"timeJoinedMs"`
			Logins       []struct {
				Email    *string                      `json:"email"`
				Verified *bool                        `json:"verified"`
				Hash     *string                      `json:"passwordHash"`
				Format   string                       `json:"passwordFormat"`
				Identity *struct{ ID, UserID string } `json:"thirdParty"`
			} `json:"loginMethods"`
		} `json:"accounts"`
	}
	raw, err := os.ReadFile(filepath.Join(fixtures, fixture+".truth.json"))
	if err != nil || json.Unmarshal(raw, &truth) != nil {
		t.Fatal(err)
	}
	met, passwords, identities := 0, 0, 0
	for _, a := range truth.Accounts {
		u, ok := written[a.VisibleID]
		if !ok || a.AppID != "public" {
			continue
		}
		met++
		verified, hashes, links := false, []string{}, []link(nil)
		for _, l := range a.Logins {
			verified = verified || l.Email != nil && strings.EqualFold(*l.Email, u.Email) && l.Verified != nil && *l.Verified
			if l.Hash != nil && l.Format != "firebase_scrypt" {
				hashes = append(hashes, *l.Hash)
			}
			if l.Identity != nil {
				links = append(links, link{l.Identity.ID, l.Identity.UserID})
			}
		}
		if u.Verified != verified {
			t.Errorf("%s: verified %v, in the source %v", a.VisibleID, u.Verified, verified)
		}
		if u.Created != a.TimeJoinedMs {
			t.Errorf("%s joined at %d, in the source at %d", a.VisibleID, u.Created, a.TimeJoinedMs)
		}
		stored := slices.DeleteFunc(slices.Clone(u.Credentials), func(c struct{ Type, SecretData string }) bool { return c.Type != "password" })
		if len(stored) != min(len(hashes), 1) {
			t.Errorf("%s: %d passwords are written, the source has %d that can be", a.VisibleID, len(stored), len(hashes))
		}
		passwords += len(stored)
		byID := func(x, y link) int { return strings.Compare(x.Provider+" "+x.UserID, y.Provider+" "+y.UserID) }
		slices.SortFunc(links, byID)
		slices.SortFunc(u.Links, byID)
		if diff := cmp.Diff(links, u.Links); diff != "" {
			t.Errorf("%s (-source +written):\n%s", a.VisibleID, diff)
		}
		identities += len(links)
	}
	if met != summary.Created || passwords < 50 || identities < 20 {
		t.Errorf("%d of %d accounts were compared, with %d passwords and %d identities", met, summary.Created, passwords, identities)
	}
}

// Ten thousand accounts that joined in the same millisecond are as many afterwards:
// nothing is read in pages that a moment could cut.
func TestEqualMomentsLoseNobody(t *testing.T) {
	t.Parallel()
	testenv.Slow(t, "makes several runs")
	dump, err := os.ReadFile(filepath.Join(fixtures, "core-3.16.2.sql"))
	if err != nil {
		t.Fatal(err)
	}
	const more = 10_000
	var index, people strings.Builder
	for n := range more {
		id := fmt.Sprintf("%08x-0000-4000-8000-%012x", n*2_654_435_761%(1<<32), n)
		fmt.Fprintf(&index, "%s\temailpassword\t1700000000000\n", id)
		fmt.Fprintf(&people, "%s\tmany%d@example.org\t$2a$10$VYMke6bA9Nzc9Ne1NBY3FulsvVc.uabXkG3mrHFbm0n.p592T/ABm\t1700000000000\n", id, n)
	}
	text := string(dump)
	for table, rows := range map[string]string{"all_auth_recipe_users": index.String(), "emailpassword_users": people.String()} {
		before, after, ok := strings.Cut(text, "COPY public."+table+" (")
		head, rest, found := strings.Cut(after, "\n")
		if !ok || !found {
			t.Fatalf("the dump has no %s", table)
		}
		text = before + "COPY public." + table + " (" + head + "\n" + rows + rest
	}
	move := func(source string) pluginapi.Summary {
		dir := t.TempDir()
		config := filepath.Join(dir, "c.yaml")
		writeFile(t, filepath.Join(dir, "source.sql"), source)
		writeFile(t, config, "source: {dump: ./source.sql}\ntarget: {plugin: keycloak, config: {mode: files, realm: r, out: ./out}}\n")
		return runStetl(t, nil, "run", "--config", config, "--json").report(t).Summary
	}
	want := move(string(dump))
	want.Read, want.Created = want.Read+more, want.Created+more
	if got := move(text); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}
