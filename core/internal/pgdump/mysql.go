package pgdump

func mysqlError(path string) error {
	return &SyntaxError{
		Path:  path,
		Msg:   "this is a dump of MySQL or MariaDB, and such dumps are not read yet",
		Hint:  "move the database to PostgreSQL first (SuperTokens has a script for this), then name it in source.url, or dump it with pg_dump",
		Cause: ErrMySQL,
	}
}
