package supertokensgen

import (
	"embed"
	"fmt"
	"slices"
	"strings"
)

// Generation names a shape of the database, in the words of core/supertokens.
type Generation string

// The generations that can be made. G5 is core 12 with migration_mode MIGRATED,
// switched when nine tenths of the accounts had joined.
const (
	G1a Generation = "G1a"
	G1b Generation = "G1b"
	G1c Generation = "G1c"
	G2  Generation = "G2"
	G3  Generation = "G3"
	G4  Generation = "G4"
	G5  Generation = "G5"
)

// Generations lists all of them, oldest first.
func Generations() []Generation { return []Generation{G1a, G1b, G1c, G2, G3, G4, G5} }

// since reports whether g is as new as other. Their names sort by age.
func (g Generation) since(other Generation) bool { return g >= other }

// schemas hold the statements of pg_dump for databases that real cores made:
// the tables, then the keys and indexes.
//
//go:embed schema/*.sql
var schemas embed.FS

// schema is one generation's statements.
type schema struct {
	tables []tableSchema
	// keys are the constraints and indexes, which come after the data.
	keys string
}

type tableSchema struct {
	name    string
	create  string
	columns []string
}

func loadSchema(g Generation) (schema, error) {
	raw, err := schemas.ReadFile("schema/" + string(g) + ".sql")
	if err != nil {
		return schema{}, fmt.Errorf("generation %q cannot be made; choose one of %v", g, Generations())
	}
	creates, keys, _ := strings.Cut(string(raw), "ALTER TABLE")
	s := schema{keys: "ALTER TABLE" + keys}
	for create := range strings.SplitAfterSeq(creates, ");\n") {
		head, body, ok := strings.Cut(create, " (\n")
		if !ok {
			continue
		}
		t := tableSchema{name: strings.TrimPrefix(head, "CREATE TABLE public."), create: create}
		for line := range strings.Lines(body) {
			if name, _, ok := strings.Cut(strings.TrimSpace(line), " "); ok {
				t.columns = append(t.columns, name)
			}
		}
		s.tables = append(s.tables, t)
	}
	slices.SortFunc(s.tables, func(x, y tableSchema) int { return strings.Compare(x.name, y.name) })
	return s, nil
}
