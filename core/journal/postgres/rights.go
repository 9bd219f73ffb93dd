package postgres

import "github.com/jackc/pgx/v5"

// Grants are the statements that let a role read a journal that is there, as the bridge and
// reports do, or with writes also run. Its owner, who has made the tables, executes them
// again after each update of the tables.
func Grants(role string, writes bool) []string {
	to := " TO " + pgx.Identifier{role}.Sanitize()
	out := []string{"GRANT USAGE ON SCHEMA stetl" + to, "GRANT SELECT ON ALL TABLES IN SCHEMA stetl" + to}
	if writes {
		out = append(out, "GRANT INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA stetl"+to, "GRANT USAGE, SELECT, UPDATE ON ALL SEQUENCES IN SCHEMA stetl"+to)
	}
	return out
}
