//go:build unix

package mariadb

import (
	"database/sql"
	"testing"

	"github.com/go-sql-driver/mysql"
)

// TestServer keeps what one database holds from another, and takes TCP and the socket.
func TestServer(t *testing.T) {
	t.Parallel()
	s := Start(t)
	one, other := s.CreateDatabase(t, "CHARACTER SET latin1"), s.CreateDatabase(t, "")
	s.Exec(t, one, "CREATE TABLE x (a int); INSERT INTO x VALUES (1), (2)")
	s.Exec(t, other, "CREATE TABLE x (a int)")
	overSocket := s.Config(one)
	overSocket.Net, overSocket.Addr = "unix", s.Socket()
	for _, c := range []*mysql.Config{s.Config(one), overSocket} {
		db, err := sql.Open("mysql", c.FormatDSN())
		if err != nil {
			t.Fatal(err)
		}
		var rows int
		if err := db.QueryRowContext(t.Context(), "SELECT count(*) FROM x").Scan(&rows); err != nil || rows != 2 {
			t.Errorf("over %s: %d rows, %v", c.Net, rows, err)
		}
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}
}
