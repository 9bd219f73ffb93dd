// Package mysqladdress reads the address of a MySQL or MariaDB database for targets that
// are one, in every form that the source's address may have.
package mysqladdress
