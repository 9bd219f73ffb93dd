// Package mariadb runs a real MariaDB for tests: the one that is installed, else one that
// Maven's repository has. With [EnvMySQL] it runs a MySQL in its place.
package mariadb
