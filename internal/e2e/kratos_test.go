//go:build unix

package e2e_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"

	"github.com/stetl/stetl/internal/testserver/fixture"
	"github.com/stetl/stetl/internal/testserver/kratos"
	"github.com/stetl/stetl/internal/testserver/postgres"
)

// kratosConfig is the configuration of the example, for a fixture, with the plugin built.
func kratosConfig(t *testing.T, server *kratos.Server, name string) (config string, env []string) {
	t.Helper()
	dir := t.TempDir()
	bin := filepath.Join(dir, "stetl-plugin-kratos")
	if out, err := exec.Command("go", "build", "-o", bin, "../../examples/kratos").CombinedOutput(); err != nil {
		t.Fatalf("build the plugin: %v\n%s", err, out)
	}
	raw, err := os.ReadFile("../../examples/kratos/kratos.yaml")
	if err != nil {
		t.Fatal(err)
	}
	dump, err := filepath.Abs(fixture.Dump(t, name))
	if err != nil {
		t.Fatal(err)
	}
	text := string(raw)
	for old, with := range map[string]string{
		"url: ${env:SUPERTOKENS_DATABASE_URL}":              "dump: " + dump,
		"path: ../../bin/stetl-plugin-kratos":               "path: " + bin,
		"# firebase_signer_key: ${env:FIREBASE_SIGNER_KEY}": "firebase_signer_key: ${env:FIREBASE_SIGNER_KEY}",
		"# providers: {google-workspaces: google}":          "providers: {google-workspaces: google}",
	} {
		if !strings.Contains(text, old) {
			t.Fatalf("the example has no %q", old)
		}
		text = strings.Replace(text, old, with, 1)
	}
	config = filepath.Join(dir, "kratos.yaml")
	writeFile(t, config, text)
	return config, []string{
		"KRATOS_ADMIN_URL=" + server.Admin, "KRATOS_PUBLIC_URL=" + server.Public, "FIREBASE_SIGNER_KEY=" + fixture.Read(t, name).FirebaseSignerKey,
	}
}

// TestKratos moves a fixture into a real Kratos with the plugin of the walk-through: who is
// loaded signs in with the old password and is known by the old id, a second run writes
// nothing, and an undo leaves nobody.
func TestKratos(t *testing.T) {
	t.Parallel()
	const name = "core-9.3.0"
	server := kratos.Start(t)
	config, env := kratosConfig(t, server, name)
	if r := runStetl(t, env, "check", "--config", config); r.code != exitDone {
		t.Fatalf("check: exit %d\n%s%s", r.code, r.stdout, r.stderr)
	}
	planned := runStetl(t, env, "run", "--config", config, "--dry-run", "--json").report(t)
	if server.Stored(t) != "" {
		t.Error("the dry run has changed the target")
	}
	first := runStetl(t, env, "run", "--config", config, "--json")
	loaded := first.report(t)
	people := readAccounts(t, name)
	if s := loaded.Summary; s != planned.Summary || s.Accounted() != len(people) || s.InDoubt > 0 || s.Created < len(people)*9/10 {
		t.Fatalf("exit %d: %+v of %d, planned %+v\n%s", first.code, s, len(people), planned.Summary, first.stderr)
	}
	if len(loaded.Canaries) == 0 {
		t.Error("no password was proven beforehand")
	}
	for _, c := range loaded.Canaries {
		if !c.Proven && !c.Unasked { // nobody can make a hash of Firebase without its key
			t.Errorf("not proven: %+v", c)
		}
	}
	signInToKratos(t, server, people)
	after := server.Stored(t)
	again := runStetl(t, env, "run", "--config", config, "--json").report(t)
	if s := again.Summary; s.Created != 0 || s.Updated != 0 || s.Unchanged != loaded.Summary.Created || server.Stored(t) != after {
		t.Errorf("the second run did %+v after %+v", s, loaded.Summary)
	}
	if r := runStetl(t, env, "verify", "--config", config, "--json"); r.code != exitDone {
		t.Errorf("verify: exit %d\n%.3000s\n%s", r.code, r.stdout, r.stderr)
	}
	if r := runStetl(t, env, "undo", "--config", config, "--yes", "--json"); r.code != exitDone {
		t.Errorf("undo: exit %d\n%.3000s\n%s", r.code, r.stdout, r.stderr)
	}
	if server.Stored(t) != "" {
		t.Error("the undo has left somebody")
	}
}

// longestBcrypt is how many bytes of a password bcrypt takes. Kratos refuses to look at longer
// ones, instead of leaving the rest out like others.
const longestBcrypt = 72

// signInToKratos tries the password of everybody who is there with one.
func signInToKratos(t *testing.T, server *kratos.Server, people []account) {
	t.Helper()
	var identifiers map[string]string // by the id that applications have stored
	raw := postgres.Value[string](t, server.DSN, `SELECT coalesce(json_object_agg(i.metadata_public::jsonb ->> 'external_id', n.identifier), '{}')::text
		FROM identities AS i JOIN identity_credentials AS c ON c.identity_id = i.id JOIN identity_credential_types AS t ON t.id = c.identity_credential_type_id
		JOIN identity_credential_identifiers AS n ON n.identity_credential_id = c.id WHERE t.name = 'password'`)
	if err := json.Unmarshal([]byte(raw), &identifiers); err != nil {
		t.Fatal(err)
	}
	seen := map[string]int{}
	var mu sync.Mutex
	each(t, people, func(ctx context.Context, a account) error {
		password, ok := a.anyPassword()
		identifier, there := identifiers[a.VisibleID]
		if !ok || !there || a.format() == "argon2d" {
			return nil
		}
		mu.Lock()
		seen[a.format()]++
		one := seen[a.format()] == 1
		mu.Unlock()
		if a.format() == "bcrypt" && len(password) > longestBcrypt {
			if id, err := server.SignIn(ctx, identifier, password); err != nil || id != "" {
				return fmt.Errorf("%s signs in with more than %d bytes, which docs/kratos.md denies (%q, %w)", a.VisibleID, longestBcrypt, id, err)
			}
			if password = password[:longestBcrypt]; !utf8.ValidString(password) {
				return nil
			}
		}
		id, err := server.SignIn(ctx, identifier, password)
		if err != nil || id == "" {
			return fmt.Errorf("%s, with a hash like %s, does not sign in (%q, %w)", a.VisibleID, a.format(), id, err)
		}
		if one {
			if id, err := server.SignIn(ctx, identifier, "x"+password); err != nil || id != "" {
				return fmt.Errorf("%s signs in with another password (%q, %w)", a.VisibleID, id, err)
			}
		}
		who, err := server.Identity(ctx, id)
		if err != nil {
			return err
		}
		if public, _ := who["metadata_public"].(map[string]any); public["external_id"] != a.VisibleID {
			return fmt.Errorf("%s is known as %v", a.VisibleID, public["external_id"])
		}
		return nil
	})
	for _, kind := range []string{"bcrypt", "argon2id", "argon2i", "firebase_scrypt"} {
		if seen[kind] == 0 {
			t.Errorf("nobody was seen with %s: %v", kind, seen)
		}
	}
	t.Logf("signed in: %v", seen)
}
