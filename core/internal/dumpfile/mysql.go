package dumpfile

import "regexp"

// mysqlLines are what dumps of MySQL and MariaDB begin with: the names of the programs that
// write them, and comments that only these servers execute.
var mysqlLines = regexp.MustCompile("(?m)^(?:-- (?:MySQL|MariaDB) dump |-- Dump created by MySQL |-- mysqldump|-- phpMyAdmin SQL Dump|-- (?:MySQL|MariaDB) Administrator dump|/\\*M?!(?:[0-9]{5,6}|999999)|(?:CREATE TABLE|DROP TABLE|INSERT INTO|USE|CREATE DATABASE)[A-Za-z ]* `)")

var postgresLine = regexp.MustCompile(`(?m)^-- PostgreSQL database`)

// IsMySQL recognises the beginning of what mysqldump and its kin write.
func IsMySQL(head []byte) bool { return mysqlLines.Match(head) && !postgresLine.Match(head) }
