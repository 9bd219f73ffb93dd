//go:build unix

package sqltarget

import (
	"encoding/hex"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stetl/stetl/core/sdk"
	"github.com/stetl/stetl/internal/targettest"
	"github.com/stetl/stetl/internal/testserver/mariadb"
	"github.com/stetl/stetl/internal/testserver/postgres"
)

// nasty are texts that somebody may have for a name.
var nasty = []string{
	`'); DROP TABLE users; --`, `\'; \q`, "a\nCOMMIT;\n\\. ", `$$ $x$ /* -- */`, "ż🙂\u2028\u0007\x7f", `\u0027`, `E'\\'`, ":'x' :\"y\" %s ?", strings.Repeat(`'`, 7) + `\`,
}

// TestScript: the script of a DBA leads to the rows that a load would have written, whatever
// people are called, and is readable by its owner alone.
func TestScript(t *testing.T) {
	t.Parallel()
	var users []sdk.User
	for i, name := range nasty {
		users = append(users, ordinary(i+1, named(name, "X"), func(u *sdk.User) {
			u.Identities = []sdk.Identity{{Provider: "google", Subject: name}}
			u.Phone, u.PhoneVerified = "+49"+strconv.Itoa(i), new(true)
		}))
	}
	onEach(t, "better-auth", func(t *testing.T, s *site) {
		config := Config{Preset: "better-auth", With: []string{"phone-number", "bridge"}, Hashes: []string{"bcrypt"}, IDLength: 255, Schema: s.schema, Name: "default"}
		script := config
		script.Mode, script.Out = modeFiles, filepath.Join(t.TempDir(), "out")
		if s.mysql != nil {
			script.Dialect = dialectMySQL
		}
		target, err := newTarget(script, sdk.Env{})
		if err != nil {
			t.Fatal(err)
		}
		f := target.(*files)
		for _, part := range [][]sdk.User{users[:4], users[4:]} {
			if got := targettest.Load(t, f, part).Counts(); got[sdk.Created] != len(part) {
				t.Errorf("%v of %d", got, len(part))
			}
		}
		if err := f.Finish(t.Context()); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(script.Out, scriptName)
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%v, %v", info.Mode(), err)
		}
		if s.mysql != nil {
			runMySQLScript(t, s, path)
		} else {
			postgres.Exec(t, s.dsn, string(text))
		}
		config.URL = sdk.NewSecret(s.dsn)
		if got := targettest.Load(t, open(t, config, nil), users).Counts(); got[sdk.Unchanged] != len(users) {
			t.Errorf("a load after the script: %v, want %d unchanged", got, len(users))
		}
	})
}

// runMySQLScript runs it with the client of a DBA, in sessions that read constants in every
// way that there is.
func runMySQLScript(t *testing.T, s *site, path string) {
	t.Helper()
	for _, mode := range []string{"NO_BACKSLASH_ESCAPES,ANSI_QUOTES", ""} {
		s.exec(t, `DELETE FROM "user"`)
		cmd := mariadb.Start(t).Client(t, s.mysql.DBName, "--default-character-set=utf8mb4", "--init-command=SET sql_mode='"+mode+"'")
		script, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		cmd.Stdin = script
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("the client: %v\n%s", err, out)
		}
		if err := script.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// FuzzMySQLLiteral: a literal is printable ASCII, has nothing that could end or escape it,
// and is the text.
func FuzzMySQLLiteral(f *testing.F) {
	for _, text := range nasty {
		f.Add(text)
	}
	f.Add("plain")
	f.Fuzz(func(t *testing.T, text string) {
		if !utf8.ValidString(text) || strings.ContainsRune(text, 0) {
			return // no row gets such a text
		}
		got := mysqlLiteral(text)
		digits, coded := strings.CutPrefix(got, "_utf8mb4 x'")
		back := strings.TrimSuffix(strings.TrimPrefix(got, "'"), "'")
		if coded {
			raw, err := hex.DecodeString(strings.TrimSuffix(digits, "'"))
			if err != nil {
				t.Fatal(err)
			}
			back = string(raw)
		} else if len(got) < 2 || got[0] != '\'' || got[len(got)-1] != '\'' || strings.ContainsAny(back, `'\`) {
			t.Fatalf("%q is no literal", got)
		}
		if strings.ContainsFunc(got, func(c rune) bool { return c < ' ' || c > '~' }) {
			t.Fatalf("%q has a byte that is not printable ASCII", got)
		}
		if back != text {
			t.Errorf("%q is read as %q", text, back)
		}
	})
}

// FuzzLiteral: a literal ends where it should, and is the text.
func FuzzLiteral(f *testing.F) {
	for _, text := range nasty {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if !utf8.ValidString(text) || strings.ContainsRune(text, 0) {
			return // no row gets such a text
		}
		got := literal(text)
		body, ok := strings.CutPrefix(got, "E'")
		if !ok || !strings.HasSuffix(body, "'") {
			t.Fatalf("%q is no literal", got)
		}
		body = body[:len(body)-1]
		var back strings.Builder
		for len(body) > 0 {
			c, size, digits := body[0], 1, 0
			switch {
			case c < ' ' || c > '~':
				t.Fatalf("%q has a byte that is not printable ASCII", got)
			case c == '\'':
				size = 2
				if len(body) < 2 || body[1] != '\'' {
					t.Fatalf("%q ends early", got)
				}
			case c != '\\':
			case len(body) < 2:
				t.Fatalf("%q escapes its end", got)
			case body[1] == '\\':
				size = 2
			case body[1] == 'u':
				digits = 4
			case body[1] == 'U':
				digits = 8
			default:
				t.Fatalf("%q has an unknown escape", got)
			}
			if digits == 0 {
				back.WriteByte(c)
				body = body[size:]
				continue
			}
			n, err := strconv.ParseUint(body[2:2+digits], 16, 32)
			if err != nil {
				t.Fatal(err)
			}
			back.WriteRune(rune(n))
			body = body[2+digits:]
		}
		if back.String() != text {
			t.Errorf("%q is read as %q", text, back.String())
		}
	})
}
