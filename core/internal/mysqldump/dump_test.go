package mysqldump

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"

	"github.com/stetl/stetl/core/internal/dumpfile"
)

// small are buffers so small that everything crosses their ends.
var small = sizes{window: 1, row: 1, maxRow: 1 << 16}

const (
	top = "-- MySQL dump 10.13  Distrib 8.4.3, for Linux (x86_64)\n--\n-- Host: localhost    Database: auth\n-- ------------------------------------------------------\n-- Server version\t8.4.3\n\n" +
		"/*!40101 SET @OLD_CHARACTER_SET_CLIENT=@@CHARACTER_SET_CLIENT */;\n/*!50503 SET NAMES utf8mb4 */;\n/*!40101 SET @OLD_SQL_MODE=@@SQL_MODE, SQL_MODE='NO_AUTO_VALUE_ON_ZERO' */;\n"
	bottom = "/*!40101 SET SQL_MODE=@OLD_SQL_MODE */;\n/*!40111 SET SQL_NOTES=@OLD_SQL_NOTES */;\n\n-- Dump completed on 2026-01-02  3:04:05\n"
	define = "DROP TABLE IF EXISTS `t`;\nCREATE TABLE `t` (\n  `a` varchar(64) NOT NULL DEFAULT 'x),(',\n  `b` bigint unsigned DEFAULT NULL,\n  PRIMARY KEY (`a`),\n  KEY `t_b` (`b`)\n) ENGINE=InnoDB COMMENT='a ; b';\n"
)

// open reads a dump from memory.
func open(t *testing.T, text string, buffers sizes) (*Dump, error) {
	t.Helper()
	return load(t.Context(), "x.sql", strings.NewReader(text), int64(len(text)), buffers)
}

// read gives every row of every table, "database.table: a|b".
func read(ctx context.Context, d *Dump) (out []string, err error) {
	for _, table := range d.Tables() {
		if !table.HasData {
			continue
		}
		rows, err := d.Rows(ctx, table)
		if err != nil {
			return nil, err
		}
		for rows.Next() {
			var values []string
			for _, v := range rows.Values() {
				if v == nil {
					values = append(values, "NULL")
				} else {
					values = append(values, string(v))
				}
			}
			out = append(out, table.String()+": "+strings.Join(values, "|"))
		}
		if rows.Err() != nil {
			return nil, rows.Err()
		}
	}
	return out, nil
}

func TestRows(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		dump string
		want []string
	}{
		"extended":        {top + define + "INSERT INTO `t` VALUES ('a',1),('b',NULL);\n" + bottom, []string{"auth.t: a|1", "auth.t: b|NULL"}},
		"a line for each": {top + define + "INSERT INTO `t` VALUES\n('a',1),\n('b',-2);\n" + bottom, []string{"auth.t: a|1", "auth.t: b|-2"}},
		"single":          {top + define + "INSERT INTO `t` VALUES ('a',1);\nINSERT INTO `t` VALUES ('b',2);\n" + bottom, []string{"auth.t: a|1", "auth.t: b|2"}},
		"columns named":   {top + define + "INSERT  IGNORE INTO `t` (`B`, `a`) VALUES (1,'a');\n" + bottom, []string{"auth.t: a|1"}},
		"replace":         {top + define + "REPLACE INTO `t` VALUES ('a',1);\n" + bottom, []string{"auth.t: a|1"}},
		"escapes": {
			top + define + `INSERT INTO ` + "`t`" + ` VALUES ('a\'\"\\\n\r\t\0\Z\%\_\q''é',1);` + "\n" + bottom,
			[]string{"auth.t: a'\"\\\n\r\t\x00\x1a\\%\\_q'é|1"},
		},
		"no backslashes": {
			top + define + "SET SQL_MODE='ANSI_QUOTES,NO_BACKSLASH_ESCAPES';\nINSERT INTO \"t\" VALUES ('a\\',1),('b''\\n',2);\n" + bottom,
			[]string{`auth.t: a\|1`, `auth.t: b'\n|2`},
		},
		"double quotes":      {top + define + `INSERT INTO t VALUES ("a'""\"b",1);` + bottom, []string{`auth.t: a'""b|1`}},
		"what looks like it": {top + define + "INSERT INTO `t` VALUES ('INSERT INTO `t` VALUES (1);-- Dump completed /* ',1);\n" + bottom, []string{"auth.t: INSERT INTO `t` VALUES (1);-- Dump completed /* |1"}},
		"binary": {
			top + "CREATE TABLE `t` (`a` blob, `b` bit(1), `c` varbinary(4));\nINSERT INTO `t` VALUES (_binary '\xff\\\xc3\\0',b'1',0x00FF),('\xfe','\\0',x'0a'),('',0x01,'');\n" + bottom,
			[]string{"auth.t: \xff\xc3\x00|\x01|\x00\xff", "auth.t: \xfe|\x00|\n", "auth.t: |\x01|"},
		},
		"long bytes":   {top + "CREATE TABLE `t` (`a` blob);\nINSERT INTO `t` VALUES (0x" + strings.Repeat("41", 9000) + ");\n" + bottom, []string{"auth.t: " + strings.Repeat("A", 9000)}},
		"introducers":  {top + define + "INSERT INTO `t` VALUES (_utf8mb4'é',TRUE),(_utf8mb3 'b',false);\n" + bottom, []string{"auth.t: é|1", "auth.t: b|0"}},
		"numbers":      {top + define + "INSERT INTO `t` VALUES (0,18446744073709551615),(1.5e-3,+7);\n" + bottom, []string{"auth.t: 0|18446744073709551615", "auth.t: 1.5e-3|+7"}},
		"no rows":      {top + define + "LOCK TABLES `t` WRITE;\n/*!40000 ALTER TABLE `t` DISABLE KEYS */;\nUNLOCK TABLES;\n" + bottom, nil},
		"latin1":       {strings.Replace(top, "utf8mb4", "latin1", 1) + define + "INSERT INTO `t` VALUES ('\xe9\x80',1);\n" + bottom, []string{"auth.t: é€|1"}},
		"generated":    {top + "CREATE TABLE `t` (`a` int, `g` varchar(9) GENERATED ALWAYS AS (concat(`a`,'x')) VIRTUAL, `b` int);\nINSERT INTO `t` (`a`,`b`) VALUES (1,2);\n" + bottom, []string{"auth.t: 1|2"}},
		"not defined":  {top + "INSERT INTO `t` (`a`,`b`) VALUES (1,2);\n" + bottom, []string{"auth.t: 1|2"}},
		"two at once":  {top + define + "CREATE DATABASE /*!32312 IF NOT EXISTS*/ `o` /*!40100 DEFAULT CHARACTER SET utf8mb4 */;\nUSE `o`;\n" + define + "INSERT INTO `t` VALUES ('o',1);\nINSERT INTO `auth`.`t` VALUES ('a',1);\n" + bottom, []string{"auth.t: a|1", "o.t: o|1"}},
		"triggers":     {top + define + "INSERT INTO `t` VALUES ('a',1);\nDELIMITER ;;\n/*!50003 CREATE*/ /*!50017 DEFINER=`r`@`%`*/ /*!50003 TRIGGER `x` BEFORE INSERT ON `t` FOR EACH ROW BEGIN\nINSERT INTO `t` VALUES ('no',1);\nSET @x = 'it''s'; -- don't\nEND */;;\nDELIMITER ;\n" + bottom, []string{"auth.t: a|1"}},
		"comments":     {top + "# don't\n-- it's\n/* ' */" + define + "INSERT /* ' */ INTO `t` VALUES -- '\n('a',/*!50000 1*/),\n# '\n('b',2) ;\n" + bottom, []string{"auth.t: a|1", "auth.t: b|2"}},
		"MariaDB 11":   {"/*M!999999\\- enable the sandbox mode */ \n-- MariaDB dump 10.19-11.8.2-MariaDB, for debian-linux-gnu (x86_64)\n--\n-- Host: localhost    Database: auth\n/*M!100616 SET @OLD_NOTE_VERBOSITY=@@NOTE_VERBOSITY, NOTE_VERBOSITY=0 */;\n" + define + "INSERT INTO `t` VALUES\n('a',1);\n/*M!100616 SET NOTE_VERBOSITY=@OLD_NOTE_VERBOSITY */;\n", []string{"auth.t: a|1"}},
		"with warning": {"mysqldump: [Warning] Using a password on the command line interface can be insecure.\n" + top + define + "INSERT INTO `t` VALUES ('a',1);\n" + bottom, []string{"auth.t: a|1"}},
		"truncated":    {top + define + "INSERT INTO `t` VALUES ('a',1);\nTRUNCATE TABLE `t`;\nINSERT INTO `t` VALUES ('b',1);\n" + bottom, []string{"auth.t: b|1"}},
		"CR LF":        {strings.ReplaceAll(top+define+"INSERT INTO `t` VALUES ('a',1);\n"+bottom, "\n", "\r\n"), []string{"auth.t: a|1"}},
		"marked":       {byteOrderMark + top + define + "INSERT INTO `t` VALUES ('a',1);\n" + bottom, []string{"auth.t: a|1"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, buffers := range []sizes{defaultSizes, small} {
				d, err := open(t, c.dump, buffers)
				if err != nil {
					t.Fatal(err)
				}
				got, err := read(t.Context(), d)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(c.want, got); diff != "" {
					t.Errorf("rows (-want +got):\n%s", diff)
				}
			}
		})
	}
}

func TestTables(t *testing.T) {
	t.Parallel()
	dump := top + define + "LOCK TABLES `t` WRITE, `u` READ;\n" +
		"CREATE TABLE `v` (`a` int);\n/*!50001 CREATE VIEW `v` AS SELECT 1 AS `a`*/;\n/*!50001 DROP VIEW IF EXISTS `v`*/;\n/*!50001 CREATE ALGORITHM=UNDEFINED */\n/*!50013 DEFINER=`r`@`%` SQL SECURITY DEFINER */\n/*!50001 VIEW `v` AS select 1 AS `a` */;\n" +
		"CREATE TABLE `gone` (`a` int);\nDROP TABLE `gone`, `other`;\n" +
		"CREATE TABLE `left` (`id` int(10) UNSIGNED NOT NULL, `on` tinyint(1) NOT NULL, `e` enum('a','b,c') DEFAULT 'a', `d` decimal(10,2));\n" +
		"ALTER TABLE `left`\n  ADD PRIMARY KEY (`id`),\n  ADD UNIQUE KEY `left_on` (`on`,`e`) USING BTREE,\n  ADD CONSTRAINT `left_ibfk_1` FOREIGN KEY (`id`, `on`) REFERENCES `t` (`a`, `b`) ON DELETE CASCADE;\n" +
		"ALTER TABLE `left` MODIFY `id` int(10) UNSIGNED NOT NULL AUTO_INCREMENT;\n-- WHERE:  1 limit 5\n" + bottom
	d, err := open(t, dump, small)
	if err != nil {
		t.Fatal(err)
	}
	want := []Table{
		{
			TableName: TableName{"auth", "left"}, Indexes: []string{"PRIMARY", "left_on"},
			Columns:     []Column{{Name: "id", Type: "int(10) unsigned"}, {Name: "on", Type: "tinyint(1)"}, {Name: "e", Type: "enum(a,b,c)"}, {Name: "d", Type: "decimal(10,2)"}},
			ForeignKeys: []ForeignKey{{"left_ibfk_1", []string{"id", "on"}}},
		},
		{
			TableName: TableName{"auth", "t"}, HasData: true, Indexes: []string{"PRIMARY", "t_b"},
			Columns: []Column{{Name: "a", Type: "varchar(64)"}, {Name: "b", Type: "bigint unsigned"}},
		},
		{TableName: TableName{"auth", "u"}, HasData: true},
	}
	if diff := cmp.Diff(want, d.Tables(), cmp.AllowUnexported(Column{})); diff != "" {
		t.Errorf("tables (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]TableName{{"auth", "v"}}, d.Views()); diff != "" {
		t.Errorf("views (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(Info{Program: "MySQL dump 10.13  Distrib 8.4.3, for Linux (x86_64)", Server: "8.4.3", Filtered: true, Made: time.Date(2026, 1, 2, 3, 4, 5, 0, time.Local)}, d.Info()); diff != "" {
		t.Errorf("info (-want +got):\n%s", diff)
	}
	if _, err := d.Rows(t.Context(), want[0]); !errors.Is(err, ErrNoData) {
		t.Errorf("rows of a table without data: %v", err)
	}
}

func TestErrors(t *testing.T) {
	t.Parallel()
	insert := func(values string) string { return top + define + "INSERT INTO `t` VALUES " + values + ";\n" + bottom }
	for name, c := range map[string]struct{ dump, want string }{
		"compact":         {define + "INSERT INTO `t` VALUES ('a',1);\n", "x.sql:9: the file ends without the lines that mysqldump writes last"},
		"an error within": {top + define + "mysqldump: Error 2013: Lost connection to MySQL server during query when dumping table `t` at row: 5\n", "has written an error into it"},
		"too few values":  {insert("('a',1),('b')"), "x.sql:17: table auth.t, row 2: the row has 1 values, and there are 2 columns (byte 578)"},
		"too many values": {insert("('a',1,2)"), "the row has 3 values"},
		"no UTF-8":        {insert("('a',1),\n('\xe9',2)"), `x.sql:18: table auth.t, row 2, column "a": the text is not valid UTF-8 (byte 580); run mysqldump again with --default-character-set=utf8mb4`},
		"charset":         {strings.Replace(insert("('\xe9',1)"), "NAMES utf8mb4", "NAMES cp1251", 1), `the dump is in the character set "cp1251"`},
		"expression":      {insert("('a',1+1)"), "a value is not one that mysqldump writes"},
		"function":        {insert("('a',now())"), "a value is not one that mysqldump writes"},
		"select":          {top + define + "INSERT INTO `t` SELECT * FROM `u`;\n" + bottom, "the statement does not have values"},
		"on duplicate":    {insert("('a',1) ON DUPLICATE KEY UPDATE `b`=1"), "something follows a row that does not belong there"},
		"updated":         {insert("('a',1);\nUPDATE `t` SET `b`=2"), "a statement changes rows or columns of the table"},
		"altered":         {insert("('a',1);\nALTER TABLE `t` ADD COLUMN `c` int"), "a statement changes rows or columns of the table"},
		"column left out": {top + define + "INSERT INTO `t` (`a`) VALUES ('a');\n" + bottom, `the statement leaves out the column "b"`},
		"not described":   {top + "INSERT INTO `t` VALUES ('a');\n" + bottom, "the rows do not name their columns"},
		"twice":           {top + define + strings.TrimPrefix(define, "DROP TABLE IF EXISTS `t`;\n") + bottom, "the dump defines the table twice"},
		"huge":            {insert("('" + strings.Repeat("x", 1<<16+1) + "',1)"), "takes more memory than a row of an application can"},
		"nonsense":        {top + "` what\n" + bottom, "the file ends in the middle of a text"},
		"hex":             {insert("('a',0xfg)"), "hexadecimal digits make no sense"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d, err := open(t, c.dump, small)
			if err == nil {
				_, err = read(t.Context(), d)
			}
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q", err, c.want)
			}
		})
	}
}

// TestCut cuts a dump everywhere: a shorter list of rows is never a success.
func TestCut(t *testing.T) {
	t.Parallel()
	dump := top + define + "LOCK TABLES `t` WRITE;\nINSERT INTO `t` VALUES ('a\\'b',1),('c',2);\nINSERT INTO `t` VALUES ('d',3);\nUNLOCK TABLES;\n" + bottom
	whole := strings.Index(dump, "*/;\n\n-- Dump completed") // from here on nothing is missing
	for n := range whole {
		if d, err := open(t, dump[:n], small); err == nil {
			got, err := read(t.Context(), d)
			if !strings.Contains(dump[:n], "@OLD_SQL_NOTES") {
				t.Errorf("cut at %d of %d: %q, %v", n, len(dump), got, err)
			}
		}
	}
}

func TestPacked(t *testing.T) {
	t.Parallel()
	dump := top + define + "INSERT INTO `t` VALUES ('a',1);\n" + bottom
	dir := t.TempDir()
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	_, err := z.Write([]byte(dump))
	if err := errors.Join(err, z.Close()); err != nil {
		t.Fatal(err)
	}
	encoder, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		content []byte
		mysql   bool
	}{
		"plain.sql":      {[]byte(dump), true},
		"a.sql.gz":       {zipped.Bytes(), true},
		"a.sql.zst":      {encoder.EncodeAll([]byte(dump), nil), true},
		"cut.sql.gz":     {zipped.Bytes()[:zipped.Len()-12], true},
		"postgres.sql":   {[]byte("--\n-- PostgreSQL database dump\n--\n\n/*!40101 */\n"), false},
		"postgres.sql.z": {encoder.EncodeAll([]byte("--\n-- PostgreSQL database dump\n--\n"), nil), false},
		"empty":          {nil, false},
	} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, c.content, 0o600); err != nil {
			t.Fatal(err)
		}
		if got := Recognise(path); got != c.mysql {
			t.Errorf("%s is taken for one of MySQL: %v", name, got)
		}
		if !c.mysql {
			continue
		}
		d, err := Open(t.Context(), path)
		if strings.HasPrefix(name, "cut") {
			if e, ok := errors.AsType[*SyntaxError](err); !ok || e.Path != path || !strings.Contains(e.Msg, "ends too early") {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		rows, err := read(t.Context(), d)
		err = errors.Join(err, d.Close())
		if err != nil || !slices.Equal(rows, []string{"auth.t: a|1"}) {
			t.Errorf("%s: %q, %v", name, rows, err)
		}
		if got, want := d.Info().Packed, dumpfile.PackedWith(c.content); got != want {
			t.Errorf("%s is packed with %q, want %q", name, got, want)
		}
	}
	if Recognise(dir) || Recognise(filepath.Join(dir, "missing")) {
		t.Error("a directory and a missing file are dumps of MySQL")
	}
}

func TestCancelled(t *testing.T) {
	t.Parallel()
	cause := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	dump := top + define + "INSERT INTO `t` VALUES ('a',1),('b',2),('c',3);\n" + bottom
	d, err := load(ctx, "x.sql", strings.NewReader(dump), int64(len(dump)), small)
	if err != nil {
		t.Fatal(err)
	}
	rows, err := d.Rows(ctx, d.Tables()[0])
	if err != nil || !rows.Next() {
		t.Fatal(err)
	}
	cancel(cause)
	for rows.Next() {
	}
	if !errors.Is(rows.Err(), cause) {
		t.Errorf("rows: %v", rows.Err())
	}
	if _, err := load(ctx, "x.sql", strings.NewReader(dump), int64(len(dump)), small); !errors.Is(err, cause) {
		t.Errorf("open: %v", err)
	}
}

func TestLatin1(t *testing.T) {
	t.Parallel()
	for c := range 256 {
		if got, ok := ToLatin1(Latin1(byte(c))); !ok || int(got) != c {
			t.Errorf("byte %d comes back as %d, %v", c, got, ok)
		}
	}
	if _, ok := ToLatin1('ł'); ok {
		t.Error("ł is in latin1")
	}
}

// FuzzOpen looks for dumps that crash the reader, that it reads in two ways, or whose
// errors say nothing.
func FuzzOpen(f *testing.F) {
	f.Add([]byte(top + define + "INSERT INTO `t` VALUES ('a\\'b',1),('c',NULL);\n" + bottom))
	f.Add([]byte(top + "CREATE TABLE `t` (`a` blob,`b` bit(1));\nINSERT INTO `t` (`b`,`a`) VALUES (b'1',_binary '\xff\\0'),(0x01,x'00');\n" + bottom))
	f.Add([]byte("SET SQL_MODE='NO_BACKSLASH_ESCAPES';USE `x`;DELIMITER //\nCREATE VIEW v AS SELECT 1//\nDELIMITER ;\nALTER TABLE `t` ADD KEY `k` (`a`);" + bottom))
	f.Fuzz(func(t *testing.T, dump []byte) {
		var first string
		for _, buffers := range []sizes{{window: 1 << 10, row: 1 << 10, maxRow: 1 << 10}, {window: 1, row: 1, maxRow: 1 << 10}} {
			d, err := load(t.Context(), "x.sql", bytes.NewReader(dump), int64(len(dump)), buffers)
			var rows []string
			if err == nil {
				rows, err = read(t.Context(), d)
				if closed := d.Close(); closed != nil {
					t.Fatal(closed)
				}
			}
			if err != nil {
				e, ok := errors.AsType[*SyntaxError](err)
				if !ok || e.Path != "x.sql" || e.Msg == "" {
					t.Fatalf("error without a place: %v", err)
				}
			}
			got := fmt.Sprint(rows, err)
			if first == "" {
				first = got
			}
			if got != first {
				t.Fatalf("small buffers:\n%s\nlarge ones:\n%s", got, first)
			}
		}
	})
}
