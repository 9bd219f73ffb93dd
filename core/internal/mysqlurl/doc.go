// Package mysqlurl reads the address of a MySQL or MariaDB database as people have it:
// a URI, a JDBC URL, a data source name of Go's driver. What cannot be read is refused,
// and nothing of the text is repeated but names of settings: it may have a password
// anywhere.
package mysqlurl
