package main

import (
	"encoding/json"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stetl/stetl/internal/testserver/fixture"
	"github.com/stetl/stetl/internal/testserver/postgres"
	"github.com/stetl/stetl/internal/testserver/testenv"
)

// newcomer is a folder in which somebody begins.
type newcomer struct {
	t   *testing.T
	dir string
	env []string
}

func (n *newcomer) write(name, text string) {
	n.t.Helper()
	if err := os.WriteFile(filepath.Join(n.dir, name), []byte(text), 0o600); err != nil {
		n.t.Fatal(err)
	}
}

func (n *newcomer) read(name string) string {
	n.t.Helper()
	raw, err := os.ReadFile(filepath.Join(n.dir, name))
	if err != nil {
		n.t.Fatal(err)
	}
	return string(raw)
}

func (n *newcomer) stetl(env []string, args ...string) ran {
	n.t.Helper()
	var stdout, stderr strings.Builder
	cmd := exec.CommandContext(n.t.Context(), "stetl", args...)
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = n.dir, append(append(os.Environ(), n.env...), env...), &stdout, &stderr
	_ = cmd.Run() // the exit code says it
	return ran{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}

// init is what init said.
func (n *newcomer) init(env []string, args ...string) (got struct {
	Ready  bool     `json:"ready"`
	Left   []string `json:"left_to_do"`
	Source string   `json:"source"`
},
) {
	n.t.Helper()
	r := n.stetl(env, append([]string{"init", "--json"}, args...)...)
	if err := json.Unmarshal([]byte(r.stdout), &got); err != nil || r.code != exitDone {
		n.t.Fatalf("init: exit %d, %v\n%s%s", r.code, err, r.stdout, r.stderr)
	}
	return got
}

// secretURL is the address for a role that may read, with this password.
func secretURL(t *testing.T, dsn, role, password string) *url.URL {
	t.Helper()
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	role += "_" + strings.TrimPrefix(u.Path, "/") // roles are of the whole server
	postgres.Exec(t, dsn, "CREATE ROLE "+role+" LOGIN PASSWORD '"+password+"'; GRANT pg_read_all_data TO "+role)
	u.User = url.UserPassword(role, password)
	return u
}

// TestInit writes configurations from what real cores are deployed with: no secret is in
// them, and check accepts them as soon as the variables are set that init names.
func TestInit(t *testing.T) {
	t.Parallel()
	testenv.Slow(t, "needs PostgreSQL")
	const password = "hunter2-hunter2"
	files := []string{"--target", "keycloak", "--set", "mode=files", "--set", "realm=customers", "--set", "out=./out"}
	plain, prefixed := fixture.Restore(t, "core-10.1.4"), fixture.Restore(t, "core-3.16.2-prefixed")
	uri := secretURL(t, plain, "reader", password)
	odd := secretURL(t, plain, "odd", `p@ss w0rd#%`)
	old := secretURL(t, prefixed, "old", password)
	for name, tt := range map[string]struct {
		file, text string
		// env is what somebody exports who has read what is left to do.
		env  []string
		want []string
	}{
		"docker-compose with an address": {
			"docker-compose.yml", "services:\n  db: {image: postgres}\n  core:\n    image: core\n    environment:\n      POSTGRESQL_CONNECTION_URI: \"" + uri.String() + "\"\n",
			[]string{"POSTGRESQL_CONNECTION_URI=" + uri.String()},
			[]string{"url: ${env:POSTGRESQL_CONNECTION_URI}", "app: public"},
		},
		"docker-compose with a port of this machine": {
			"compose.yaml", "services:\n  db:\n    ports: [\"" + uri.Port() + ":5432\"]\n  core:\n    environment:\n      - POSTGRESQL_HOST=db\n      - POSTGRESQL_USER=" + uri.User.Username() +
				"\n      - POSTGRESQL_PASSWORD=${PW:-" + password + "}\n      - POSTGRESQL_DATABASE_NAME=" + strings.TrimPrefix(uri.Path, "/") + "\n",
			[]string{"POSTGRESQL_PASSWORD=" + password},
			[]string{"${env:POSTGRESQL_PASSWORD}@localhost:" + uri.Port() + "/"},
		},
		"variables with an odd password": {
			"core.env", "# the core\nPOSTGRESQL_HOST=" + odd.Hostname() + "\nPOSTGRESQL_PORT=" + odd.Port() + "\nPOSTGRESQL_USER=" + odd.User.Username() +
				"\nPOSTGRESQL_PASSWORD='p@ss w0rd#%'\nPOSTGRESQL_DATABASE_NAME=" + strings.TrimPrefix(odd.Path, "/") + "\nFIREBASE_PASSWORD_HASHING_SIGNER_KEY=c2lnbmVyLXNpZ25lcg==\n",
			[]string{"POSTGRESQL_PASSWORD=p@ss w0rd#%", "FIREBASE_PASSWORD_HASHING_SIGNER_KEY=c2lnbmVyLXNpZ25lcg=="},
			[]string{"password='${env:POSTGRESQL_PASSWORD}'", "firebase_signer_key: ${env:FIREBASE_PASSWORD_HASHING_SIGNER_KEY}"},
		},
		"config.yaml with other names": {
			"config.yaml", "core_config_version: 0\nhost: 0.0.0.0\npostgresql_connection_uri: " + old.String() + "\npostgresql_table_names_prefix: " + prefixOf(t) + renamesOf(t),
			[]string{"POSTGRESQL_CONNECTION_URI=" + old.String()},
			[]string{"url: ${env:POSTGRESQL_CONNECTION_URI}"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := &newcomer{t: t, dir: t.TempDir()}
			n.write(tt.file, tt.text)
			got := n.init(nil, append(files, "--from", tt.file)...)
			text := n.read("stetl.yaml")
			for _, secret := range []string{password, "w0rd", "c2lnbmVy"} {
				if strings.Contains(text, secret) {
					t.Errorf("a secret is in the file:\n%s", text)
				}
			}
			for _, want := range append(tt.want, "plugin: keycloak", "mode: files", "realm: customers") {
				if !strings.Contains(text, want) {
					t.Errorf("the file lacks %q:\n%s", want, text)
				}
			}
			if got.Ready || len(got.Left) != len(tt.env) {
				t.Errorf("left to do: %q, and %d variables are not set", got.Left, len(tt.env))
			}
			for i, v := range tt.env {
				if name, _, _ := strings.Cut(v, "="); !strings.Contains(strings.Join(got.Left, "\n"), "export "+name) {
					t.Errorf("%d: %s is not named: %q", i, name, got.Left)
				}
			}
			if r := n.stetl(tt.env, "check"); r.code != exitDone {
				t.Errorf("check: exit %d\n%s%s\n%s", r.code, r.stdout, r.stderr, text)
			}
			// What is there is not replaced by accident.
			if r := n.stetl(tt.env, append([]string{"init", "--from", tt.file}, files...)...); r.code != exitUsage || !strings.Contains(r.stderr, "--force") || n.read("stetl.yaml") != text {
				t.Errorf("a second init: exit %d, %s", r.code, r.stderr)
			}
			if again := n.init(tt.env, append(files, "--from", tt.file, "--force")...); !again.Ready || len(again.Left) > 0 || n.read("stetl.yaml") != text {
				t.Errorf("with the variables set: %+v\n%s", again, n.read("stetl.yaml"))
			}
		})
	}
}

// prefixOf and renamesOf are the settings of the core of the fixture with other names.
func prefixOf(t *testing.T) string { t.Helper(); return prefixedSettings(t)["prefix"] }

func renamesOf(t *testing.T) (lines string) {
	t.Helper()
	for name, value := range prefixedSettings(t) {
		if name != "prefix" {
			lines += "\npostgresql_" + name + "_table_name: " + value
		}
	}
	return lines + "\n"
}

func prefixedSettings(t *testing.T) map[string]string {
	t.Helper()
	dump, err := filepath.Abs(fixture.Dump(t, "core-3.16.2-prefixed"))
	if err != nil {
		t.Fatal(err)
	}
	n := &newcomer{t: t, dir: t.TempDir()}
	n.write("stetl.yaml", "source: {dump: \""+dump+"\"}\n")
	r := n.stetl(nil, "inspect", "--json")
	var found struct {
		Layout struct {
			Prefix  string            `json:"table_prefix"`
			Renamed map[string]string `json:"renamed_tables"`
		} `json:"layout"`
	}
	if err := json.Unmarshal([]byte(r.stdout), &found); err != nil {
		t.Fatalf("%v: %s%s", err, r.stdout, r.stderr)
	}
	settings := map[string]string{"prefix": found.Layout.Prefix}
	for name, value := range found.Layout.Renamed {
		settings[name] = value
	}
	return settings
}

// TestInitProposesTables has generic-sql look at tables of one's own: what it proposes
// loads everybody it can, and verify finds them.
func TestInitProposesTables(t *testing.T) {
	t.Parallel()
	testenv.Slow(t, "needs PostgreSQL")
	for name, tt := range map[string]struct {
		ddl, people string
		want        []string
	}{
		"tables of one's own": {
			`CREATE TABLE members (id text PRIMARY KEY, "emailAddress" text, email_verified boolean NOT NULL DEFAULT false, full_name text,
			   password_hash text, user_metadata jsonb, is_active boolean NOT NULL, created_at timestamptz NOT NULL DEFAULT now(), score integer NOT NULL DEFAULT 0);
			 CREATE UNIQUE INDEX members_email ON members (lower("emailAddress"));
			 CREATE TABLE social_logins (id uuid PRIMARY KEY, member_id text NOT NULL REFERENCES members, provider text NOT NULL, provider_user_id text NOT NULL, UNIQUE (provider, provider_user_id));
			 CREATE TABLE member_roles (member_id text REFERENCES members, role text, PRIMARY KEY (member_id, role));
			 CREATE TABLE orders (id serial PRIMARY KEY, member_id text REFERENCES members);`,
			"SELECT count(*) FROM members",
			[]string{"name: members", "emailAddress: {field: email}", "Not written: score", "unique: [email, identity]", "folds_case: [email]", "name: social_logins", "per: identity", "name: member_roles", "per: role"},
		},
		"tables of a library": {readFile(t, "../../plugins/generic-sql/testdata/authjs.sql"), "SELECT count(*) FROM users", []string{"preset: authjs"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dsn := postgres.Start(t).CreateDatabase(t, postgres.Database{})
			postgres.Exec(t, dsn, tt.ddl)
			dump, err := filepath.Abs(fixture.Dump(t, "core-9.3.0"))
			if err != nil {
				t.Fatal(err)
			}
			n := &newcomer{t: t, dir: t.TempDir(), env: []string{"APP_DATABASE_URL=" + dsn}}
			got := n.init(nil, "--dump", dump, "--target", "generic-sql", "--set", "url=${env:APP_DATABASE_URL}")
			text := n.read("stetl.yaml")
			if !got.Ready {
				t.Errorf("left to do: %q\n%s", got.Left, text)
			}
			for _, want := range tt.want {
				if !strings.Contains(text, want) {
					t.Errorf("the file lacks %q:\n%s", want, text)
				}
			}
			if strings.Contains(text, "orders") {
				t.Errorf("a table that has nothing to do with accounts is proposed:\n%s", text)
			}
			if r := n.stetl(nil, "run", "-q"); r.code != exitDone && r.code != exitRejects {
				t.Fatalf("run: exit %d\n%s%s\n%s", r.code, r.stdout, r.stderr, text)
			}
			if n := postgres.Value[int](t, dsn, tt.people); n < 20 {
				t.Errorf("only %d people are there", n)
			}
			if r := n.stetl(nil, "verify", "-q"); r.code != exitDone {
				t.Errorf("verify: exit %d\n%s%s", r.code, r.stdout, r.stderr)
			}
		})
	}
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// TestGenerateThenInit is the shortest way to try everything at one's own size.
func TestGenerateThenInit(t *testing.T) {
	t.Parallel()
	testenv.Slow(t, "makes a run")
	n := &newcomer{t: t, dir: t.TempDir()}
	if r := n.stetl(nil, "generate", "--accounts", "300", "--generation", "G4", "--out", "rehearsal.sql"); r.code != exitDone || !strings.Contains(r.stderr, "stetl init --dump rehearsal.sql") {
		t.Fatalf("generate: exit %d, %s", r.code, r.stderr)
	}
	first := n.read("rehearsal.sql")
	if r := n.stetl(nil, "generate", "--accounts", "300", "--generation", "G4"); r.code != exitDone || r.stdout != first {
		t.Errorf("equal flags give other bytes: exit %d, %d bytes, %d before", r.code, len(r.stdout), len(first))
	}
	if got := n.init(nil, "--dump", "rehearsal.sql", "--target", "keycloak", "--set", "mode=files", "--set", "realm=r", "--set", "out=./out"); !got.Ready {
		t.Errorf("left to do: %q\n%s", got.Left, n.read("stetl.yaml"))
	}
	if r := n.stetl(nil, "run", "--dry-run", "--json"); r.code != exitRejects && r.code != exitDone || !strings.Contains(r.stdout, `"read":300`) {
		t.Errorf("dry run: exit %d, %.500s%s", r.code, r.stdout, r.stderr)
	}
	for _, args := range [][]string{{"--generation", "G9"}, {"--accounts", "-1"}, {"--accounts", "many"}} {
		if r := n.stetl(nil, append([]string{"generate"}, args...)...); r.code != exitUsage {
			t.Errorf("generate %v: exit %d", args, r.code)
		}
	}
}
