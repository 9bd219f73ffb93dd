package supertokens

import (
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/stetl/stetl/core/canonical"
)

// CheckURL says what is wrong with the form of a connection string. It does
// not connect, and it never repeats any of the string.
func CheckURL(s canonical.Secret) error {
	_, err := parseURL(s)
	return err
}

const urlForm = "expected postgres://user:password@host:5432/database"

func parseURL(s canonical.Secret) (*pgx.ConnConfig, error) {
	text := strings.TrimSpace(s.Reveal()) // files end in a newline
	if scheme, _, ok := strings.Cut(text, "://"); ok && !strings.Contains(scheme, "=") {
		if scheme != "postgres" && scheme != "postgresql" {
			return nil, errors.New("source.url is not the address of a PostgreSQL database; " + urlForm)
		}
		if _, err := url.Parse(text); err != nil {
			return nil, errors.New("source.url cannot be read; " + urlForm + ", where characters like % / ? # @ in the user and the password are written as %25 %2F %3F %23 %40")
		}
	}
	config, err := pgx.ParseConfig(text)
	if file, ok := errors.AsType[*fs.PathError](err); ok {
		return nil, fmt.Errorf("source.url names a file that cannot be read: %w", file)
	}
	if err != nil { // the parser's own words could quote the password
		return nil, errors.New("source.url has a setting that PostgreSQL's clients do not take, such as a port that is no number or an unknown sslmode; " + urlForm)
	}
	return config, nil
}

// connectError words an attempt to connect for a person: pgx lists every
// address with and without TLS, a line for each.
type connectError struct {
	where string
	cause error
}

func (e *connectError) Unwrap() error { return e.cause }

func (e *connectError) Error() string {
	text := e.cause.Error()
	if c, ok := errors.AsType[*pgconn.ConnectError](e.cause); ok {
		text = c.Unwrap().Error()
	}
	var lines []string
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" && !slices.Contains(lines, line) {
			lines = append(lines, line)
		}
	}
	// sslmode=prefer, the default, goes on without TLS.
	const noTLS = "tls error: server refused TLS connection"
	if rest := slices.DeleteFunc(slices.Clone(lines), func(l string) bool { return strings.HasSuffix(l, noTLS) }); len(rest) > 0 {
		lines = rest
	}
	return fmt.Sprintf("connect to %s: %s; %s", e.where, strings.Join(lines, "; "), e.remedy())
}

func (e *connectError) remedy() string {
	switch state := sqlState(e.cause); {
	case strings.HasPrefix(state, "28"):
		return "check the user, the password, and that pg_hba.conf lets this role in from here"
	case state == "3D000":
		return "check the name of the database"
	case state == "42704":
		return "leave out of the url what PostgreSQL does not know"
	case state == "53300":
		return "three connections are needed; free some, or raise the limit of the role or the server"
	case state != "":
		return "the server says why"
	case strings.Contains(e.cause.Error(), "tls"):
		return "check sslmode and sslrootcert"
	}
	return "check the host and the port, and that the server accepts connections from here"
}

const lockNotAvailable = "55P03"

// sqlState is the code of a server's error, empty for other ones.
func sqlState(err error) string {
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		return e.Code
	}
	return ""
}
