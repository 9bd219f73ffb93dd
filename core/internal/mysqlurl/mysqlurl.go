package mysqlurl

import (
	"net"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/stetl/stetl/core/internal/pgurl"
)

// connectTimeout bounds each attempt to connect.
const connectTimeout = 15 * time.Second

// Address is an address that has been understood.
type Address struct {
	// Database is the one that it names, empty for none.
	Database string

	config *mysql.Config
	tls    security
}

const expected = "expected mysql://user:password@host:3306/database"

var (
	scheme = regexp.MustCompile(`^(?i)(jdbc:)?(mysql2?|mysqli|mariadb)(\+[a-z0-9_]+)?:(?://)?`)
	goDSN  = regexp.MustCompile(`^(?:.*@)?(?:tcp|tcp4|tcp6|unix)\(([^()]*)\)/`)
)

// Is reports whether a text is meant as the address of a MySQL or MariaDB database.
func Is(text string) bool {
	text = pgurl.Unwrap(text)
	return scheme.MatchString(text) || goDSN.MatchString(text)
}

// Parse reads an address. The error is a [*pgurl.Error].
func Parse(text string) (*Address, error) {
	a := &Address{config: mysql.NewConfig()}
	a.config.Timeout, a.config.Logger = connectTimeout, &mysql.NopLogger{}
	var p problems
	text = pgurl.Unwrap(text)
	if scheme.MatchString(text) {
		a.uri(text, &p)
	} else {
		a.dsn(text, &p)
	}
	a.tls.resolve(&p)
	if len(p) > 0 {
		return nil, &pgurl.Error{Problems: p}
	}
	a.Database = a.config.DBName
	return a, nil
}

// Config is the address for the driver. The error says which file cannot be used.
func (a *Address) Config() (*mysql.Config, error) {
	c := a.config.Clone()
	err := a.tls.apply(c)
	return c, err
}

// Where names the server, without anything secret.
func (a *Address) Where() string { return a.config.Addr }

// Verified says that the server has to prove that it is the one that the address names.
func (a *Address) Verified() bool {
	return a.tls.level == identified || a.tls.level == verified && a.tls.ca != ""
}

// problems collects what is wrong.
type problems []pgurl.Problem

func (p *problems) add(what, cure string) {
	next := pgurl.Problem{What: what, Cure: cure}
	if !slices.Contains(*p, next) {
		*p = append(*p, next)
	}
}

const (
	defaultPort = "3306"
	notRead     = "the address of the database cannot be read"
	encode      = "write the characters @ / ? # % and blanks inside the user or the password as %40 %2F %3F %23 %25 %20, " + expected
)

// uri reads a URI, or a JDBC URL, which has the user among its settings.
func (a *Address) uri(text string, p *problems) {
	rest := text[len(scheme.FindString(text)):]
	u, err := url.Parse("mysql://" + rest)
	if err != nil || u.Fragment != "" || strings.ContainsAny(u.Host, "(),") {
		p.add(notRead, encode)
		return
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		p.add(notRead, encode)
		return
	}
	host, port := u.Hostname(), u.Port()
	if host == "" {
		host = "localhost"
	}
	if port == "" {
		port = defaultPort
	}
	a.config.Net, a.config.Addr = "tcp", net.JoinHostPort(host, port)
	a.config.User = u.User.Username()
	a.config.Passwd, _ = u.User.Password()
	a.config.DBName = strings.TrimPrefix(u.Path, "/")
	if strings.Contains(a.config.DBName, "/") {
		p.add(notRead, encode)
	}
	a.settings(query, p)
}

// dsn reads a data source name of Go's driver.
func (a *Address) dsn(text string, p *problems) {
	m := goDSN.FindStringSubmatch(text)
	if m == nil {
		p.add(notRead, expected)
		return
	}
	before, settings, _ := strings.Cut(text[len(m[0]):], "?")
	parsed, err := mysql.ParseDSN(text[:len(m[0])] + before)
	query, errQuery := url.ParseQuery(settings)
	if err != nil || errQuery != nil {
		p.add(notRead, "expected user:password@tcp(host:3306)/database")
		return
	}
	a.config.User, a.config.Passwd, a.config.DBName = parsed.User, parsed.Passwd, parsed.DBName
	a.config.Net, a.config.Addr = parsed.Net, parsed.Addr
	a.settings(query, p)
}

// tuning are settings of drivers that make no difference here.
var tuning = strings.Fields(`
	charset characterencoding useunicode connectioncollation collation servertimezone timezone connectiontimezone forceconnectiontimezonetosession
	parsetime loc autoreconnect maxreconnects failoverreadonly allowpublickeyretrieval connectionlimit pooltimeout connecttimeout connecttimeoutms
	sockettimeout timeout readtimeout writetimeout maxallowedpacket rewritebatchedstatements cacheprepstmts prepstmtcachesize prepstmtcachesqllimit
	useserverprepstmts interpolateparams multistatements allowmultiqueries checkconnliveness clientfoundrows columnswithalias rejectreadonly
	allownativepasswords allowfallbacktoplaintext zerodatetimebehavior tinyint1isbit transformedbitisboolean usecursorfetch defaultfetchsize
	uselegacydatetimecode nullcatalogmeanscurrent createdatabaseifnotexist pool poolsize maxpoolsize minpoolsize poolrecycle statuscolor name
	tcpkeepalive usecompression compress adapter encoding reconnect strict schema driver profilesql useaffectedrows debug`)

// settings takes what stands behind the question mark.
func (a *Address) settings(given url.Values, p *problems) {
	names := make([]string, 0, len(given))
	for name := range given {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		values := given[name]
		value := values[len(values)-1]
		folded := fold(name)
		switch {
		case slices.Contains(tuning, folded):
		case folded == "user" || folded == "username":
			a.config.User = value
		case folded == "password":
			a.config.Passwd = value
		case folded == "socket" || folded == "unixsocket" || folded == "localsocket":
			a.config.Net, a.config.Addr = "unix", value
		case folded == "database" || folded == "dbname":
			a.config.DBName = value
		case a.tls.take(folded, value):
			if a.tls.wrong == folded {
				a.tls.wrong = name
			}
		case settingName.MatchString(name):
			p.add("the setting "+name+" is not known", "leave it out")
		default:
			p.add("there is a setting that is not known, and its name is not shown because it may be the end of a password", "write & as %26 and = as %3D in a value")
		}
	}
}

var settingName = regexp.MustCompile(`^[A-Za-z][A-Za-z_-]{0,39}$`)

func fold(name string) string {
	return strings.NewReplacer("_", "", "-", "").Replace(strings.ToLower(name))
}
