package sqltarget

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/go-sql-driver/mysql"
	"golang.org/x/text/encoding/charmap"
)

// mysqlCatalogue reads information_schema.
type mysqlCatalogue struct {
	syntax
	tx       tx
	database string // of tables that name none
	flavour  *mysqlFlavour
}

// mysqlFlavour is whose catalogue it is: MariaDB's or MySQL's own.
type mysqlFlavour struct{ mariadb bool }

// at tells a database from a table.
func (m *mysqlCatalogue) at(path []string) (database, table string) {
	if len(path) == 1 {
		return m.database, path[0]
	}
	return path[0], path[1]
}

// mysqlID tells a table from all others of the server.
func mysqlID(database, table string) string { return mysqlSyntax{}.quote(database, table) }

// mysqlNames takes an id apart.
func mysqlNames(id string) (database, table string) {
	database, table, _ = strings.Cut(strings.TrimSuffix(strings.TrimPrefix(id, "`"), "`"), "`.`")
	return strings.ReplaceAll(database, "``", "`"), strings.ReplaceAll(table, "``", "`")
}

func (m *mysqlCatalogue) exists(ctx context.Context, path []string) (id string, err error) {
	database, table := m.at(path)
	err = m.tx.each(ctx, `SELECT TABLE_SCHEMA, TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ?`, []any{database, table}, func(row []*string) error {
		id = mysqlID(textOf(row[0]), textOf(row[1]))
		return nil
	})
	return id, err
}

// ask finds out whose it is, once.
func (m *mysqlCatalogue) ask(ctx context.Context) error {
	if m.flavour != nil {
		return nil
	}
	return m.tx.each(ctx, "SELECT version()", nil, func(row []*string) error {
		m.flavour = &mysqlFlavour{strings.Contains(strings.ToLower(textOf(row[0])), "mariadb")}
		return nil
	})
}

func (m *mysqlCatalogue) table(ctx context.Context, path []string) (*heldTable, error) {
	if err := m.ask(ctx); err != nil {
		return nil, err
	}
	database, table := m.at(path)
	h := &heldTable{rights: map[string]bool{}, claimed: mysqlClaimed}
	engine := ""
	err := m.tx.each(ctx, `
SELECT TABLE_SCHEMA, TABLE_NAME, CASE WHEN TABLE_TYPE LIKE '%VIEW' THEN 'YES' ELSE coalesce(TRANSACTIONS, 'NO') END FROM information_schema.TABLES t LEFT JOIN information_schema.ENGINES e ON e.ENGINE = t.ENGINE
WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ?`, []any{database, table}, func(row []*string) error {
		database, table, engine = textOf(row[0]), textOf(row[1]), textOf(row[2])
		h.id = mysqlID(database, table)
		return nil
	})
	if err != nil || h.id == "" {
		return nil, err
	}
	h.name, h.transactional = h.id, engine == "YES"
	for _, part := range []func(context.Context, *heldTable, string, string) error{m.columns, m.checks, m.unique, m.rights} {
		if err := part(ctx, h, database, table); err != nil {
			return nil, err
		}
	}
	h.refers, err = m.references(ctx, fromEnd, []string{h.id})
	return h, err
}

func (m *mysqlCatalogue) columns(ctx context.Context, h *heldTable, database, table string) error {
	return m.tx.each(ctx, `
SELECT COLUMN_NAME, DATA_TYPE, COLUMN_TYPE, CHARACTER_MAXIMUM_LENGTH, DATETIME_PRECISION, IS_NULLABLE, COLUMN_DEFAULT, EXTRA, GENERATION_EXPRESSION,
       CHARACTER_SET_NAME, COLLATION_NAME, PRIVILEGES, NUMERIC_PRECISION, NUMERIC_SCALE
FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ? ORDER BY ORDINAL_POSITION`, []any{database, table}, func(row []*string) error {
		h.columns = append(h.columns, m.flavour.column(row))
		return nil
	})
}

func (m *mysqlFlavour) column(row []*string) *heldColumn {
	extra, rights := strings.ToLower(textOf(row[7])), strings.Split(strings.ToUpper(textOf(row[11])), ",")
	c := &heldColumn{
		name: textOf(row[0]), typ: textOf(row[2]), notNull: textOf(row[5]) == "NO", counted: strings.Contains(extra, "auto_increment"), known: true,
		generated: m.expression(textOf(row[8])), rights: map[string]bool{},
	}
	for _, right := range []string{"SELECT", "INSERT", "UPDATE"} {
		c.rights[right] = slices.Contains(rights, right)
	}
	c.always = c.generated != ""
	if row[6] != nil {
		c.defaults = m.defaults(*row[6], strings.Contains(extra, "default_generated"))
	}
	c.digits, _ = strconv.Atoi(textOf(row[4])) // 0 where there are none
	(&mysqlType{
		data: strings.ToLower(textOf(row[1])), whole: strings.ToLower(c.typ), length: textOf(row[3]), charset: textOf(row[9]), collation: textOf(row[10]),
		precision: textOf(row[12]), scale: textOf(row[13]),
	}).shape(c)
	return c
}

// expression is what MySQL shows with quotes escaped as in a text.
func (m *mysqlFlavour) expression(s string) string {
	if m.mariadb {
		return s
	}
	return strings.NewReplacer(`\\`, `\`, `\'`, `'`).Replace(s)
}

// defaults is an expression: MariaDB shows one, MySQL a text unless it says so.
func (m *mysqlFlavour) defaults(shown string, expression bool) string {
	switch {
	case m.mariadb && shown == "NULL":
		return ""
	case m.mariadb:
		return shown
	case expression:
		return m.expression(shown)
	}
	return mysqlSyntax{}.text(shown)
}

// mysqlType is the type of a column as the catalogue has it.
type mysqlType struct {
	data, whole        string
	length             string
	charset, collation string
	precision, scale   string
}

// integers are the ranges of whole numbers, with a sign and without.
var integers = map[string][3]string{
	"tinyint": {"-128", "127", "255"}, "smallint": {"-32768", "32767", "65535"}, "mediumint": {"-8388608", "8388607", "16777215"},
	"int": {"-2147483648", "2147483647", "4294967295"}, "bigint": {"-9223372036854775808", "9223372036854775807", "9223372036854775807"},
}

var enumValue = regexp.MustCompile(`'((?:[^']|'')*)'`)

// shape says what a column takes, and how values go in and come out.
func (t *mysqlType) shape(c *heldColumn) {
	plain := func(expr string) string { return expr }
	as := func(typ string) func(string) string {
		return func(expr string) string { return "CAST(" + expr + " AS " + typ + ")" }
	}
	c.cast, c.store, c.show, c.claimed = plain, plain, as("CHAR"), as("CHAR")
	unsigned := strings.Contains(t.whole, "unsigned")
	switch t.data {
	case "tinyint", "smallint", "mediumint", "int", "bigint":
		c.kind, c.least, c.most, c.cast = kindInteger, integers[t.data][0], integers[t.data][1], as("SIGNED")
		if unsigned {
			c.least, c.most, c.cast = "0", integers[t.data][2], as("UNSIGNED")
		}
	case "bit":
		c.kind, c.least, c.most, c.cast = kindInteger, "0", "1", as("UNSIGNED")
		c.store, c.show = as("UNSIGNED"), func(expr string) string { return "CAST(" + expr + " + 0 AS CHAR)" }
	case "year":
		c.kind, c.least, c.most, c.cast = kindInteger, "1901", "2155", as("UNSIGNED")
	case "decimal":
		c.kind, c.cast = kindNumber, as("DECIMAL("+t.precision+","+t.scale+")")
	case "float", "double":
		c.kind, c.cast = kindNumber, as("DOUBLE")
	case "datetime":
		c.kind, c.cast = kindMoment, as(fmt.Sprintf("DATETIME(%d)", c.digits))
		c.least, c.most = "1000-01-01 00:00:00", "9999-12-31 23:59:59.999999"
	case "timestamp":
		c.kind, c.cast = kindMoment, as(fmt.Sprintf("DATETIME(%d)", c.digits))
		c.least, c.most = "1970-01-01 00:00:01", "2038-01-19 03:14:07.999999"
	case "date":
		c.kind, c.cast = kindDate, as("DATE")
		c.least, c.most = "1000-01-01", "9999-12-31"
	case "json":
		c.kind, c.cast = kindJSON, as("JSON")
	case "uuid":
		c.kind, c.cast = kindUUID, as("UUID")
	case "binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob":
		c.kind = kindBytes
		c.cast = func(expr string) string { return "UNHEX(" + expr + ")" }
		c.store, c.show = c.cast, func(expr string) string { return "LOWER(HEX(" + expr + "))" }
		c.claimed = c.show
		c.bytes, _ = strconv.Atoi(t.length)
	default:
		t.shapeText(c)
	}
	c.whole = c.show
}

func (t *mysqlType) shapeText(c *heldColumn) {
	if t.charset == "" {
		c.show, c.claimed = func(expr string) string { return "CAST(" + expr + " AS CHAR)" }, mysqlClaimed
		return // of a type of its own: the database says what it takes
	}
	c.folds = t.collation != "utf8mb4_0900_bin" && t.collation != "utf8mb4_nopad_bin" // others at least pad
	c.ignoresCase = strings.HasSuffix(t.collation, "_ci")
	c.cast = func(expr string) string {
		return "CONVERT(" + expr + " USING " + t.charset + ") COLLATE " + t.collation
	}
	c.show = func(expr string) string { return "CONVERT(" + expr + " USING utf8mb4)" }
	c.exact = func(expr string) string { return "CONVERT(" + expr + " USING utf8mb4) COLLATE utf8mb4_bin" }
	c.claimed = mysqlClaimed
	switch t.data {
	case "char", "varchar":
		c.length, _ = strconv.Atoi(t.length)
	case "enum":
		for _, m := range enumValue.FindAllStringSubmatch(c.typ, -1) {
			c.enum = append(c.enum, strings.ReplaceAll(m[1], "''", "'"))
		}
	case "tinytext", "text", "mediumtext", "longtext":
		c.bytes, _ = strconv.Atoi(t.length)
		if t.charset == "ascii" || t.charset == "latin1" {
			c.length, c.bytes = c.bytes, 0
		}
	}
	c.trims = t.data == "char"
	c.letters = lettersOf(t.charset)
}

// mysqlClaimed is the key by which a collation sorts: it is the same for texts that are
// equal to it. Blanks at the end count in few collations; here they count in none.
func mysqlClaimed(expr string) string {
	return "COALESCE(HEX(WEIGHT_STRING(RTRIM(" + expr + "))), CAST(" + expr + " AS CHAR))"
}

// lettersOf says which texts a character set can hold; nil for all, and for those of which
// only the database knows.
func lettersOf(charset string) func(string) bool {
	switch charset {
	case "ascii":
		return func(s string) bool { return strings.IndexFunc(s, func(r rune) bool { return r > 0x7f }) < 0 }
	case "latin1":
		return func(s string) bool { _, err := charmap.Windows1252.NewEncoder().String(s); return err == nil }
	case "utf8", "utf8mb3", "ucs2":
		return func(s string) bool { return strings.IndexFunc(s, func(r rune) bool { return r > 0xffff }) < 0 }
	}
	return nil
}

var jsonCheck = regexp.MustCompile("^json_valid\\(`((?:[^`]|``)*)`\\)$")

func (m *mysqlCatalogue) checks(ctx context.Context, h *heldTable, database, table string) error {
	query := `SELECT c.CONSTRAINT_NAME, c.CHECK_CLAUSE FROM information_schema.CHECK_CONSTRAINTS c JOIN information_schema.TABLE_CONSTRAINTS t
ON t.CONSTRAINT_SCHEMA = c.CONSTRAINT_SCHEMA AND t.CONSTRAINT_NAME = c.CONSTRAINT_NAME WHERE t.TABLE_SCHEMA = ? AND t.TABLE_NAME = ? AND t.CONSTRAINT_TYPE = 'CHECK' AND t.ENFORCED = 'YES' ORDER BY 1`
	if m.flavour.mariadb {
		query = `SELECT CONSTRAINT_NAME, CHECK_CLAUSE FROM information_schema.CHECK_CONSTRAINTS WHERE CONSTRAINT_SCHEMA = ? AND TABLE_NAME = ? ORDER BY 1`
	}
	return m.tx.each(ctx, query, []any{database, table}, func(row []*string) error {
		clause := m.flavour.expression(textOf(row[1]))
		if j := jsonCheck.FindStringSubmatch(clause); j != nil {
			if c := h.column(strings.ReplaceAll(j[1], "``", "`")); c != nil {
				c.kind = kindJSON // which is what MariaDB has for that type
				return nil
			}
		}
		h.checks = append(h.checks, check{textOf(row[0]), clause})
		return nil
	})
}

func (m *mysqlCatalogue) unique(ctx context.Context, h *heldTable, database, table string) error {
	expression := "EXPRESSION"
	if m.flavour.mariadb {
		expression = "NULL"
	}
	byName := map[string]*uniqueIndex{}
	return m.tx.each(ctx, `SELECT INDEX_NAME, COLUMN_NAME, SUB_PART, `+expression+` FROM information_schema.STATISTICS
WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ? AND NON_UNIQUE = 0 ORDER BY INDEX_NAME, SEQ_IN_INDEX`, []any{database, table}, func(row []*string) error {
		name := textOf(row[0])
		u := byName[name]
		if u == nil {
			u = &uniqueIndex{name: name}
			byName[name] = u
			h.unique = append(h.unique, u)
		}
		column, expr := textOf(row[1]), ""
		switch {
		case row[3] != nil:
			column, expr = "", m.flavour.expression(*row[3])
		case row[2] != nil:
			column, expr = "", "LEFT("+m.quote(column)+", "+*row[2]+")"
		default:
			expr = m.quote(column)
		}
		u.columns, u.exprs = append(u.columns, column), append(u.exprs, expr)
		return nil
	})
}

// denied are the codes for a statement that the role may not run.
var denied = []uint16{1142, 1143, 1044}

// rights are those on the whole table. Of DELETE the catalogue tells for direct grants only;
// who may not delete may not have it explained either.
func (m *mysqlCatalogue) rights(ctx context.Context, h *heldTable, _, _ string) error {
	for _, right := range []string{"SELECT", "INSERT", "UPDATE"} {
		h.rights[right] = !slices.ContainsFunc(h.columns, func(c *heldColumn) bool { return !c.rights[right] })
	}
	err := m.tx.each(ctx, "EXPLAIN DELETE FROM "+h.name+" WHERE 1 = 0", nil, func([]*string) error { return nil })
	if e, ok := errors.AsType[*mysql.MySQLError](err); ok && slices.Contains(denied, e.Number) {
		return nil
	}
	h.rights["DELETE"] = err == nil
	return err
}

var grant = regexp.MustCompile("^GRANT (.+) ON (?:\\*\\.\\*|`((?:[^`]|``)*)`\\.\\*) TO ")

// blind says that a table that refers to one of these may be hidden: a role sees the foreign
// keys of those tables only on which it has a right.
func (m *mysqlCatalogue) blind(ctx context.Context, tables []string) (bool, error) {
	var seen []*regexp.Regexp
	err := m.tx.each(ctx, "SHOW GRANTS", nil, func(row []*string) error {
		g := grant.FindStringSubmatch(textOf(row[0]))
		if g == nil || !slices.ContainsFunc(strings.Split(g[1], ", "), func(p string) bool { return p == "SELECT" || p == "ALL PRIVILEGES" }) {
			return nil
		}
		pattern := cmp.Or(strings.ReplaceAll(g[2], "``", "`"), "%")
		seen = append(seen, like(pattern))
		return nil
	})
	for _, id := range tables {
		database, _ := mysqlNames(id)
		if !slices.ContainsFunc(seen, func(r *regexp.Regexp) bool { return r.MatchString(database) }) {
			return true, err
		}
	}
	return false, err
}

// like is a pattern of a grant: of LIKE, with a backslash before what means itself.
func like(pattern string) *regexp.Regexp {
	var b strings.Builder
	escaped := false
	for _, c := range pattern {
		switch {
		case escaped:
			b.WriteString(regexp.QuoteMeta(string(c)))
			escaped = false
		case c == '\\':
			escaped = true
		case c == '%':
			b.WriteString(".*")
		case c == '_':
			b.WriteByte('.')
		default:
			b.WriteString(regexp.QuoteMeta(string(c)))
		}
	}
	return regexp.MustCompile("^(?s:" + b.String() + ")$")
}

func (m *mysqlCatalogue) references(ctx context.Context, e end, tables []string) (out []reference, err error) {
	if len(tables) == 0 {
		return nil, nil
	}
	var among []string
	var args []any
	prefix := map[end]string{fromEnd: "", toEnd: "REFERENCED_"}[e]
	for _, id := range tables {
		database, table := mysqlNames(id)
		among = append(among, "("+prefix+"TABLE_SCHEMA = ? AND "+prefix+"TABLE_NAME = ?)")
		args = append(args, database, table)
	}
	query := `SELECT CONSTRAINT_NAME, TABLE_SCHEMA, TABLE_NAME, REFERENCED_TABLE_SCHEMA, REFERENCED_TABLE_NAME, COLUMN_NAME, REFERENCED_COLUMN_NAME
FROM information_schema.KEY_COLUMN_USAGE WHERE REFERENCED_TABLE_NAME IS NOT NULL AND (` + strings.Join(among, " OR ") + `) ORDER BY TABLE_SCHEMA, TABLE_NAME, CONSTRAINT_NAME, ORDINAL_POSITION`
	err = m.tx.each(ctx, query, args, func(row []*string) error {
		from, to := mysqlID(textOf(row[1]), textOf(row[2])), mysqlID(textOf(row[3]), textOf(row[4]))
		if n := len(out); n == 0 || out[n-1].name != textOf(row[0]) || out[n-1].from != from {
			out = append(out, reference{name: textOf(row[0]), from: from, to: to, fromName: from, toName: to})
		}
		f := &out[len(out)-1]
		f.columns, f.refs = append(f.columns, textOf(row[5])), append(f.refs, textOf(row[6]))
		return nil
	})
	slices.SortStableFunc(out, func(a, b reference) int { return cmp.Compare(a.from, b.from) })
	return out, err
}
