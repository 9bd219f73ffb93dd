//go:build linux

package supertokens

import (
	"bufio"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stetl/stetl/internal/testserver/fixture"
	"github.com/stetl/stetl/internal/testserver/mariadb"
)

// writeMySQL writes a plain dump of PostgreSQL anew as mysqldump does, without keys.
func writeMySQL(b *testing.B, plain, path string) {
	b.Helper()
	d, err := openDump(b.Context(), plain)
	if err != nil {
		b.Fatal(err)
	}
	f, err := os.Create(path)
	if err != nil {
		b.Fatal(err)
	}
	w := bufio.NewWriterSize(f, 1<<20)
	_, _ = fmt.Fprint(w, "-- MySQL dump 10.13  Distrib 8.4.3, for Linux (x86_64)\n--\n-- Host: localhost    Database: generated\n\n/*!50503 SET NAMES utf8mb4 */;\n/*!40111 SET @OLD_SQL_NOTES=@@SQL_NOTES, SQL_NOTES=0 */;\n")
	c, err := d.catalog(b.Context())
	for _, r := range c.tables {
		if err == nil {
			err = writeMySQLTable(b, w, d, r)
		}
	}
	_, _ = fmt.Fprint(w, "/*!40111 SET SQL_NOTES=@OLD_SQL_NOTES */;\n-- Dump completed\n")
	if err := errors.Join(err, w.Flush(), f.Close(), d.close()); err != nil {
		b.Fatal(err)
	}
}

// rowsOfStatement is about how many rows an INSERT of mysqldump has.
const rowsOfStatement = 4_000

func writeMySQLTable(b *testing.B, w io.Writer, d *dump, r *relation) error {
	b.Helper()
	types := map[string]string{"boolean": "tinyint(1)", "bytea": "blob", "bigint": "bigint unsigned", "integer": "int"}
	var columns []string
	for i, name := range r.columns {
		typ := r.types[i]
		switch {
		case types[typ] != "":
			typ = types[typ]
		case strings.HasSuffix(typ, "[]"):
			typ = "text"
		}
		columns = append(columns, "  `"+name+"` "+typ)
	}
	_, _ = fmt.Fprintf(w, "CREATE TABLE `%s` (\n%s\n) ENGINE=InnoDB;\nLOCK TABLES `%s` WRITE;\n", r.name, strings.Join(columns, ",\n"), r.name)
	if r.empty {
		return nil
	}
	quote := strings.NewReplacer(`\`, `\\`, `'`, `\'`, "\n", `\n`)
	rows := 0
	err := d.scan(b.Context(), r, "", r.columns, func(v [][]byte) error {
		values := make([]string, len(v))
		for i := range v {
			switch text := string(v[i]); {
			case v[i] == nil:
				values[i] = "NULL"
			case r.types[i] == "boolean":
				values[i] = map[string]string{"t": "1", "f": "0"}[text]
			case r.types[i] == "bytea":
				raw, err := hex.DecodeString(strings.TrimPrefix(text, `\x`))
				if err != nil {
					return err
				}
				values[i] = "0x" + hex.EncodeToString(raw)
			case kindOf(r.types[i]) == "number":
				values[i] = text
			default:
				values[i] = "'" + quote.Replace(strings.TrimRight(text, " ")) + "'"
			}
		}
		before := ","
		switch {
		case rows == 0:
			before = "INSERT INTO `" + r.name + "` VALUES "
		case rows%rowsOfStatement == 0:
			before = ";\nINSERT INTO `" + r.name + "` VALUES "
		}
		rows++
		_, err := fmt.Fprint(w, before, "(", strings.Join(values, ","), ")")
		return err
	})
	if rows > 0 {
		_, _ = fmt.Fprint(w, ";\n")
	}
	_, _ = fmt.Fprint(w, "UNLOCK TABLES;\n")
	return err
}

// fillMariaDB restores a dump, and measures how long the client of MariaDB takes to get
// every row of its tables.
func fillMariaDB(b *testing.B, path string, accounts int) (address string, selected time.Duration) {
	b.Helper()
	server := mariadb.Start(b)
	database := server.CreateDatabase(b, "CHARACTER SET utf8mb4")
	f, err := os.Open(path)
	if err != nil {
		b.Fatal(err)
	}
	load := server.Client(b, database, "--default-character-set=utf8mb4")
	load.Stdin = f
	if out, err := load.CombinedOutput(); err != nil {
		b.Fatalf("restore a dump: %v\n%s", err, out)
	}
	if err := f.Close(); err != nil {
		b.Fatal(err)
	}
	d, err := openStore(b.Context(), Options{Dump: path})
	if err != nil {
		b.Fatal(err)
	}
	c, err := d.catalog(b.Context())
	if err := errors.Join(err, d.close()); err != nil {
		b.Fatal(err)
	}
	var all strings.Builder
	for _, r := range c.tables {
		fmt.Fprintf(&all, "SELECT * FROM `%s`;\n", r.name)
	}
	b.Run("select", func(b *testing.B) {
		for range benchRounds {
			get := server.Client(b, database, "--quick", "--skip-column-names", "--batch")
			get.Stdin = strings.NewReader(all.String())
			start := time.Now()
			if err := get.Run(); err != nil {
				b.Fatal(err)
			}
			if took := time.Since(start); selected == 0 || took < selected {
				selected = took
			}
		}
		report(b, accounts, selected)
	})
	return fixture.MySQLAddress(server, database), selected
}
