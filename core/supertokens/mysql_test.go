package supertokens

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/stetl/stetl/core/internal/mysqldump"
	"github.com/stetl/stetl/internal/testserver/fixture"
	"github.com/stetl/stetl/internal/testserver/testenv"
)

func mysqlTruth(t *testing.T, name string) truth {
	t.Helper()
	return parseTruth(t, fixture.MySQLTruth(t, name))
}

func TestMySQLDumpEqualsTruth(t *testing.T) {
	t.Parallel()
	for _, name := range fixture.MySQLNames(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, size := range []int{0, 7} {
				checkTruth(t, mysqlTruth(t, name), func() Options {
					return Options{Dump: fixture.MySQLDump(t, name), RangeSize: size}
				})
			}
		})
	}
}

func TestMySQLWarningsEqualTruth(t *testing.T) {
	t.Parallel()
	for _, name := range fixture.MySQLNames(t) {
		if strings.HasSuffix(name, "-traps") { // the list of warnings is that of PostgreSQL, without what was added
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tr := mysqlTruth(t, name)
			// What MySQL's charset could not hold is not in the dump, and nothing in it tells.
			tr.Warnings = slices.DeleteFunc(tr.Warnings, func(w map[string]any) bool { return w["code"] == "mysql_not_in_charset" })
			checkWarnings(t, tr, func() Options { return Options{Dump: fixture.MySQLDump(t, name)} })
		})
	}
}

// TestMySQLGivesTheSamePeople compares with the same people in PostgreSQL: the same bytes.
func TestMySQLGivesTheSamePeople(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"core-3.3.0", "core-5.0.0", "core-7.0.18", "core-9.3.0", "core-10.1.4"} {
		for _, of := range []string{name, name + "-mysql97"} {
			t.Run(of, func(t *testing.T) {
				t.Parallel()
				for _, app := range mysqlTruth(t, of).Apps {
					want, _, _, _ := export(t, Options{Dump: fixture.Dump(t, name), App: app.AppID})
					got, _, _, _ := export(t, Options{Dump: fixture.MySQLDump(t, of), App: app.AppID})
					if diff := gocmp.Diff(want, got); diff != "" {
						t.Errorf("app %s (-PostgreSQL +MySQL):\n%s", app.AppID, diff)
					}
				}
			})
		}
	}
}

// TestMySQLTablesLeftOut takes every table away, every pair of them, and triples: what is
// left is refused, with the name of a table, or gives the same accounts.
func TestMySQLTablesLeftOut(t *testing.T) {
	t.Parallel()
	testenv.Slow(t, "reads each source once for every part of it")
	for _, name := range []string{ // the others have the same tables
		"core-3.3.0", "core-5.0.0", "core-5.0.0-failed-upgrade", "core-7.0.18", "core-9.3.0-prefixed", "core-10.1.4-mysql97", "core-10.1.4-traps",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			leaveTablesOut(t, loadedFrom(t, fixture.MySQLDump(t, name)), mysqlTruth(t, name), 200)
		})
	}
}

// writeDump writes a dump for one test.
func writeDump(t *testing.T, dump string) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "made.sql")
	if err := os.WriteFile(path, []byte(dump), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func mysqlText(t *testing.T, name string) string {
	t.Helper()
	return string(fixture.Unpack(t, fixture.MySQLDump(t, name)))
}

// TestMySQLTwoDatabases has two installations in one file, and an application's own tables
// beside one of them.
func TestMySQLTwoDatabases(t *testing.T) {
	t.Parallel()
	first := mysqlText(t, "core-10.1.4-databases")
	own := "CREATE TABLE `users` (`id` int, `created` datetime NOT NULL DEFAULT '0000-00-00 00:00:00', `extra` json);\n" +
		"INSERT INTO `users` VALUES (1,'0000-00-00 00:00:00','{\"a\": \"b\\\\\\\"c\"}');\n" +
		"CREATE TABLE `roles` (`id` int, `name` varchar(20));\nINSERT INTO `roles` VALUES (1,'x');\n"
	second := "CREATE DATABASE `shop`;\nUSE `shop`;\n" + own + mysqlText(t, "core-5.0.0")
	second = strings.Replace(second, "Database: supertokens", "Database: shop", 1)
	path := writeDump(t, first+second)
	_, err := Open(t.Context(), Options{Dump: path})
	if !errors.Is(err, ErrAmbiguous) || !strings.Contains(err.Error(), `schema "shop"`) {
		t.Fatalf("two databases: %v", err)
	}
	for schema, of := range map[string]string{"supertokens": "core-10.1.4-databases", "shop": "core-5.0.0"} {
		checkTruth(t, mysqlTruth(t, of), func() Options { return Options{Dump: path, Schema: schema} })
	}
}

// TestMySQLPrefix reads the installation with a prefix, found and told.
func TestMySQLPrefix(t *testing.T) {
	t.Parallel()
	for _, o := range []Options{{}, {TablePrefix: ptr("auth")}, {Tables: map[string]string{"emailpassword_users": "people"}}} {
		o.Dump = fixture.MySQLDump(t, "core-9.3.0-prefixed")
		checkTruth(t, mysqlTruth(t, "core-9.3.0-prefixed"), func() Options { return o })
	}
}

func TestMySQLRefused(t *testing.T) {
	t.Parallel()
	dump := mysqlText(t, "core-10.1.4")
	for name, c := range map[string]struct{ dump, want string }{
		"cut":      {dump[:len(dump)/2], "the file ends in the middle of"},
		"no end":   {strings.Split(dump, "/*!40103 SET TIME_ZONE=@OLD")[0], "without the lines that mysqldump writes last"},
		"filtered": {strings.Replace(dump, "-- Dumping data for table", "-- WHERE:  1=1\n-- Dumping data for table", 1), "mysqldump --where"},
		"no data":  {regexp.MustCompile("(?m)^(INSERT INTO|LOCK TABLES|-- Dumping data).*\n(\\(.*\n)*").ReplaceAllString(dump, ""), "dump the whole database"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, err := Open(t.Context(), Options{Dump: writeDump(t, c.dump)})
			if err == nil {
				_ = s.Close()
			}
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q", err, c.want)
			}
		})
	}
}

// TestMySQLCollation: what only the server would join is reported, and not joined.
func TestMySQLCollation(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"core-10.1.4-traps", "core-10.1.4-mysql97-traps"} {
		users, findings := read(t, Options{Dump: fixture.MySQLDump(t, name)})
		for code, example := range map[string]string{
			WarnCollation:            "user_metadata cust-trap-9",
			WarnVerifiedCaseMismatch: "49c8f2d3-27f1-5b22-9188-d8eb368f4860",
			WarnDanglingRole:         "f0481743-c1f2-5924-ad91-a780f8b1a6ae",
			WarnStaleVerified:        "3f203aa0-0956-5627-b2a3-22bd827c831a",
		} {
			if f := finding(findings, code); !slices.Contains(f.Examples, example) {
				t.Errorf("%s: %s is not in %+v", name, example, f)
			}
		}
		if u := users["e5d04121-a32d-574c-9b77-0cc75730cdad"]; u.ID != "Cust-Trap-9" || u.Metadata != nil {
			t.Errorf("%s: %s has metadata %s", name, u.ID, u.Metadata)
		}
	}
	// Two accounts whose ids differ in case only, as a binary collation allows them.
	dump := mysqlText(t, "core-10.1.4-traps")
	other := "INSERT INTO `userid_mapping` VALUES ('public','b6e1e7d4-d7e7-5a52-963d-af51eee67f69','CUST-TRAP-9 ',NULL);\n"
	at := strings.Index(dump, "/*!40000 ALTER TABLE `userid_mapping` ENABLE KEYS")
	_, findings := read(t, Options{Dump: writeDump(t, dump[:at]+other+dump[at:])})
	if f := finding(findings, WarnIDsFolded); f.Count != 1 {
		t.Errorf("ids that differ in case: %+v", f)
	}
	_, findings = read(t, Options{Dump: fixture.MySQLDump(t, "core-10.1.4")})
	for _, code := range []string{WarnCollation, WarnIDsFolded} {
		if f := finding(findings, code); f.Count != 0 {
			t.Errorf("without traps: %+v", f)
		}
	}
}

// throughLatin1 is a text after its UTF-8 has gone through a connection in latin1.
func throughLatin1(text string) string {
	var out strings.Builder
	for _, c := range []byte(text) {
		out.WriteRune(mysqldump.Latin1(c))
	}
	return out.String()
}

// TestMySQLCharset: UTF-8 that was stored as latin1 is reported, and read right where the
// operator says so, however the dump was made.
func TestMySQLCharset(t *testing.T) {
	t.Parallel()
	right := mysqlText(t, "core-10.1.4-hexblob") // which has no bytes but those of texts
	wrong := writeDump(t, throughLatin1(right))
	asLatin1 := writeDump(t, strings.Replace(right, "SET NAMES utf8mb4", "SET NAMES latin1", 1))
	for _, path := range []string{wrong, asLatin1} {
		checkTruth(t, mysqlTruth(t, "core-10.1.4-hexblob"), func() Options { return Options{Dump: path, Charset: "latin1"} })
		users, findings := read(t, Options{Dump: path})
		f := finding(findings, WarnDoubleEncoded)
		if f.Count < 5 || len(users) == 0 {
			t.Errorf("%d of %d accounts are reported", f.Count, len(users))
		}
	}
	for o, says := range map[*Options]string{
		{Dump: fixture.Dump(t, "core-10.1.4"), Charset: "latin1"}:      "source.charset is for dumps and databases of MySQL",
		{Dump: fixture.MySQLDump(t, "core-10.1.4"), Charset: "cp1251"}: `source.charset is "cp1251"`,
		{Dump: fixture.Dump(t, "core-10.1.4"), LockTables: true}:       "source.lock_tables is for live databases",
		{Dump: fixture.MySQLDump(t, "core-10.1.4"), LockTables: true}:  "source.lock_tables is for live databases",
	} {
		if err := readError(t, *o); !errors.As(err, new(*SettingError)) || !strings.Contains(err.Error(), says) {
			t.Errorf("error %v, want %q", err, says)
		}
	}
}

// TestMySQLValues: numbers without a sign, booleans of other types and words that a script
// left do not stop anybody else.
func TestMySQLValues(t *testing.T) {
	t.Parallel()
	dump := mysqlText(t, "core-10.1.4")
	id := regexp.MustCompile("INSERT INTO `emailpassword_users` VALUES\n\\('public','([^']+)'").FindStringSubmatch(dump)[1]
	line := regexp.MustCompile("(?m)^(\\('public','" + id + "',.*),[0-9]+\\)([,;])$")
	part := strings.Index(dump, "INSERT INTO `emailpassword_users` VALUES")
	dump = dump[:part] + line.ReplaceAllString(dump[part:strings.Index(dump, "INSERT INTO `emailverification_")], "$1,18446744073709551615)$2") + dump[strings.Index(dump, "INSERT INTO `emailverification_"):]
	dump = strings.Replace(dump, "`is_linked_or_is_a_primary_user` tinyint(1)", "`is_linked_or_is_a_primary_user` bit(1)", 1)
	users, findings := read(t, Options{Dump: writeDump(t, dump)})
	if f := finding(findings, WarnTimeImplausible); f.Count != 1 || f.Examples[0] != id || len(users) != 125 {
		t.Errorf("%d accounts, %+v", len(users), f)
	}
	if _, err := json.Marshal(users[id]); err != nil {
		t.Error(err)
	}
}
