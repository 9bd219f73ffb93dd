package pgdump

func mysqlError(path string) error {
	return &SyntaxError{
		Path:  path,
		Msg:   "this is a dump of MySQL or MariaDB, and not a file of mysqldump",
		Hint:  "run mysqldump --single-transaction --result-file=dump.sql DATABASE, and name that file",
		Cause: ErrMySQL,
	}
}
