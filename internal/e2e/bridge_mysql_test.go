//go:build linux

package e2e_test

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stetl/stetl/internal/testserver/fixture"
	"github.com/stetl/stetl/internal/testserver/mariadb"
)

// TestBridgeOverMySQL runs two instances as a role with the rights that are printed, and
// kills one between a code and its redemption, and inside the transaction that redeems it.
func TestBridgeOverMySQL(t *testing.T) {
	t.Parallel()
	y := tenancyOf(t, "mysql/core-9.3.0")
	s, database := mariadb.Start(t), y.dsn[strings.LastIndexByte(y.dsn, '/')+1:]
	address, second := freeAddress(t), freeAddress(t)
	const asRole = oneClient + `  database: "${env:BRIDGE_DATABASE}"` + "\n"
	config, other := y.configure("one", address, asRole), y.configure("two", second, asRole)
	u, err := url.Parse(y.dsn)
	if err != nil {
		t.Fatal(err)
	}
	role := "bridge_" + database
	u.User = url.UserPassword(role, "canary")
	y.env = append(y.env, "BRIDGE_DATABASE="+u.String())
	s.Exec(t, "", "CREATE USER `"+role+"`@`%` IDENTIFIED BY 'canary'")
	printed := runStetl(t, y.env, "bridge", "--config", config, "--print-sql", role)
	if printed.code != exitDone {
		t.Fatalf("print: exit %d\n%s", printed.code, printed.stderr)
	}
	s.Exec(t, "", printed.stdout)
	y.load(config)
	s.Exec(t, database, "REVOKE DELETE ON session_info FROM `"+role+"`@`%`")
	for _, command := range []string{"bridge", "check"} {
		if r := runStetl(t, y.env, command, "--config", config); r.code != exitRefused || !strings.Contains(r.stdout+r.stderr, "DELETE on `"+database+"`.`session_info`") {
			t.Errorf("%s: exit %d\n%s%s", command, r.code, r.stdout, r.stderr)
		}
	}
	s.Exec(t, database, "GRANT DELETE ON session_info TO `"+role+"`@`%`")
	sessions := y.sessions(2)
	left := func(s fixture.Session) int {
		return fixture.Value[int](t, y.dsn, "SELECT count(*) FROM session_info WHERE session_handle = $1", s.Handle)
	}
	transactions := func(state string) int {
		return fixture.Value[int](t, y.dsn, "SELECT count(*) FROM information_schema.INNODB_TRX x JOIN information_schema.PROCESSLIST p ON p.ID = x.trx_mysql_thread_id WHERE p.USER = $1 AND x.trx_state LIKE $2", role, state)
	}
	launchBridge(t, other, second, y.env)

	b := launchBridge(t, config, address, y.env)
	code := y.code(address, sessions[0])
	b.kill(t)
	if status, body := y.redeem(second, code); left(sessions[0]) != 0 || status != http.StatusOK {
		t.Errorf("after the code, at the other instance: %d %s, %d sessions", status, body, left(sessions[0]))
	}
	if again, _ := y.redeem(second, code); again != http.StatusBadRequest {
		t.Errorf("tokens twice: %d", again)
	}

	b = launchBridge(t, config, address, y.env)
	code = y.code(address, sessions[1])
	db := fixture.OpenMySQL(t, y.dsn)
	t.Cleanup(func() { _ = db.Close() })
	holder, err := db.BeginTx(t.Context(), nil)
	if err == nil {
		_, err = holder.ExecContext(t.Context(), "SELECT 1 FROM session_info WHERE session_handle = ? FOR UPDATE", sessions[1].Handle)
	}
	if err != nil {
		t.Fatal(err)
	}
	answer := make(chan int, 1)
	go func() {
		status, _ := y.redeem(address, code)
		answer <- status
	}()
	wait := func(over func() bool) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		for !over() {
			select {
			case <-ctx.Done():
				t.Fatal("nothing happens")
			case <-time.After(250 * time.Millisecond): // whoever asks for transactions more often gets the same answer
			}
		}
	}
	wait(func() bool { return transactions("LOCK WAIT") > 0 })
	b.kill(t)
	if status := <-answer; status != 0 {
		t.Errorf("it answered %d", status)
	}
	if err := holder.Rollback(); err != nil {
		t.Error(err)
	}
	wait(func() bool { return transactions("%") == 0 })
	if left(sessions[1]) != 1 {
		t.Fatal("the session is over, and nobody has tokens")
	}
	if status, body := y.redeem(second, code); status != http.StatusOK || left(sessions[1]) != 0 {
		t.Errorf("before the commit, at the other instance: %d %s", status, body)
	}
}
