package supertokens

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/stetl/stetl/internal/testserver/fixture"
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

// TestMySQLTablesLeftOut takes every table away: what is left is refused, with the name of
// the table, or gives the same accounts.
func TestMySQLTablesLeftOut(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"core-3.3.0", "core-5.0.0", "core-5.0.0-failed-upgrade", "core-7.0.18", "core-9.3.0-prefixed", "core-10.1.4-mysql97"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := loadedFrom(t, fixture.MySQLDump(t, name))
			names := coreNames(t, m)
			whole, err := m.accountsOf(t, "public")
			if err != nil {
				t.Fatal(err)
			}
			refused := 0
			for _, r := range m.of.tables {
				got, err := m.hide(r).accountsOf(t, "public")
				switch {
				case err == nil && slices.Equal(whole, got):
				case err == nil:
					t.Errorf("without %s (-whole +part):\n%.1500s", r.name, gocmp.Diff(whole, got))
				case !strings.Contains(err.Error(), string(names[r])):
					t.Errorf("without %s: the error does not name it: %v", r.name, err)
				default:
					refused++
				}
			}
			if refused == 0 {
				t.Error("nothing was refused")
			}
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
