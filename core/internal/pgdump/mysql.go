package pgdump

import "regexp"

// mysqlLines are what dumps of MySQL and MariaDB begin with: the names of the programs that
// write them, and comments that only these servers execute.
var mysqlLines = regexp.MustCompile("(?m)^(?:-- (?:MySQL|MariaDB) dump |-- Dump created by MySQL |-- mysqldump|-- phpMyAdmin SQL Dump|-- (?:MySQL|MariaDB) Administrator dump|/\\*M?!(?:[0-9]{5,6}|999999)|(?:CREATE TABLE|DROP TABLE|INSERT INTO|USE|CREATE DATABASE)[A-Za-z ]* `)")

var postgresLine = regexp.MustCompile(`(?m)^-- PostgreSQL database`)

// isMySQL recognises what mysqldump and its kin write.
func isMySQL(head []byte) bool { return mysqlLines.Match(head) && !postgresLine.Match(head) }

func mysqlError(path string) error {
	return &SyntaxError{
		Path:  path,
		Msg:   "this is a dump of MySQL or MariaDB, and such dumps are not read yet",
		Hint:  "move the database to PostgreSQL first (SuperTokens has a script for this), then name it in source.url, or dump it with pg_dump",
		Cause: ErrMySQL,
	}
}
