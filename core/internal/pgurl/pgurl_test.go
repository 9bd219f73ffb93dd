package pgurl

import (
	"context"
	"crypto/tls"
	"errors"
	"math/rand/v2"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/stetl/stetl/internal/testserver/testenv"
)

// shown is what tests compare of an address.
type shown struct {
	Host, User, Password, Database, TLS string
	Schemas                             []string
	Params                              map[string]string
}

func show(t *testing.T, text string) shown {
	t.Helper()
	a, err := Parse(text)
	if err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	pool, err := a.PoolConfig()
	if err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	c := pool.ConnConfig
	hosts := []string{net.JoinHostPort(c.Host, strconv.Itoa(int(c.Port)))}
	plain := c.TLSConfig == nil
	for _, f := range c.Fallbacks {
		plain = plain || f.TLSConfig == nil
		if host := net.JoinHostPort(f.Host, strconv.Itoa(int(f.Port))); !slices.Contains(hosts, host) {
			hosts = append(hosts, host)
		}
	}
	out := shown{Host: strings.Join(hosts, " "), User: c.User, Password: c.Password, Database: c.Database, Schemas: a.Schemas, TLS: "prefer"}
	if len(c.RuntimeParams) > 0 {
		out.Params = c.RuntimeParams
	}
	switch {
	case c.TLSConfig == nil && plain:
		out.TLS = "disable"
	case !plain && !c.TLSConfig.InsecureSkipVerify:
		out.TLS = "verify-full"
	case !plain:
		out.TLS = "require"
	}
	return out
}

// TestUnderstood has addresses as tools and providers write them.
func TestUnderstood(t *testing.T) {
	t.Setenv("HOME", t.TempDir()) // no password file, no certificates
	for _, name := range []string{"PGHOST", "PGPORT", "PGUSER", "PGPASSWORD", "PGDATABASE", "PGOPTIONS", "PGSSLMODE", "PGAPPNAME", "PGTZ"} {
		t.Setenv(name, "")
	}
	plain := shown{Host: "h:5432", User: "u", Password: "p", Database: "d", TLS: "prefer"}
	with := func(change func(*shown)) shown {
		s := plain
		change(&s)
		return s
	}
	mode := func(m string) shown { return with(func(s *shown) { s.TLS = m }) }
	schema := func(names ...string) shown { return with(func(s *shown) { s.Schemas = names }) }
	host := func(h string) shown { return with(func(s *shown) { s.Host = h }) }
	socket := func(h string) shown { return with(func(s *shown) { s.Host, s.TLS = h, "disable" }) }
	params := func(kv ...string) shown {
		return with(func(s *shown) {
			s.Params = map[string]string{}
			for i := 0; i < len(kv); i += 2 {
				s.Params[kv[i]] = kv[i+1]
			}
		})
	}
	for given, want := range map[string]shown{
		"postgres://u:p@h/d":                                                  plain,
		"postgresql://u:p@h:5432/d":                                           plain,
		"POSTGRES://u:p@h/d":                                                  plain,
		"postgresql+psycopg2://u:p@h/d":                                       plain,
		"postgres+asyncpg://u:p@h/d":                                          plain,
		"cockroachdb://u:p@h/d":                                               plain,
		" postgres://u:p@h/d\r\n":                                             plain,
		"\"postgres://u:p@h/d\"":                                              plain,
		"'postgres://u:p@h/d';":                                               plain,
		"DATABASE_URL=postgres://u:p@h/d":                                     plain,
		"export DATABASE_URL=\"postgres://u:p@h/d\"\n":                        plain,
		"DATABASE_URL: postgres://u:p@h/d":                                    plain,
		"DATABASE_URL='host=h user=u password=p dbname=d'":                    plain,
		"psql 'postgres://u:p@h/d'":                                           plain,
		"psql -d \"postgres://u:p@h/d\"":                                      plain,
		"postgres://h/d?user=u&password=p":                                    plain,
		"postgres://x@h/d?user=u&password=p&":                                 plain,
		"host=h user=u password=p dbname=d":                                   plain,
		"host = 'h'\nuser = 'u'\npassword = 'p'\ndbname = 'd'":                plain,
		"jdbc:postgresql://h:5432/d?user=u&password=p":                        plain,
		"Host=h;Username=u;Password=p;Database=d":                             plain,
		"Server=h; Port=5432; User Id=u; Password='p'; Database=d; ":          plain,
		"postgres://u:p%40%2F%3F%23%25%3A@h/d":                                with(func(s *shown) { s.Password = "p@/?#%:" }),
		"postgres://u:a:b=c&d+e$f{g}|'\"\\`^~!*();,@h/d":                      with(func(s *shown) { s.Password = "a:b=c&d+e$f{g}|'\"\\`^~!*();," }),
		"postgres://h/d?user=u@server&password=p@ss":                          with(func(s *shown) { s.User, s.Password = "u@server", "p@ss" }),
		"jdbc:postgresql://h/d?user=u&password=p@s/s%23":                      with(func(s *shown) { s.Password = "p@s/s#" }),
		`host=h user=u password='it\'s \\ two words' dbname=d`:                with(func(s *shown) { s.Password = `it's \ two words` }),
		`host=h user=u password=a\ b;c dbname=d`:                              with(func(s *shown) { s.Password = `a b;c` }),
		`host=h user=u password=a;dbname=b dbname=d`:                          with(func(s *shown) { s.Password = `a;dbname=b` }),
		`Host=h;Username=u;Password="a;b""c'";Database=d`:                     with(func(s *shown) { s.Password = `a;b"c'` }),
		"jdbc:postgresql:d?user=u&password=p&host=h":                          plain,
		"jdbc:postgresql:///d?user=u&password=p&PGHOST=h":                     plain,
		"r2dbc:postgresql://u:p@h/d":                                          plain,
		"postgres://u:p@[fe80::1%25eth0]/d":                                   host("[fe80::1%eth0]:5432"),
		"postgres://u:p@[::1]/d":                                              host("[::1]:5432"),
		"postgres://u:p@[2001:db8::7]:6432/d":                                 host("[2001:db8::7]:6432"),
		"postgres://u:p@a,b:6432/d":                                           host("a:5432 b:6432"),
		"jdbc:postgresql://a:1,b:2/d?user=u&password=p&loadBalanceHosts=true": host("a:1 b:2"),
		"Host=a:1,b;Username=u;Password=p;Database=d":                         host("a:1 b:5432"),
		"postgres://u:p@/d?host=h":                                            plain,
		"postgres://u:p@127.0.0.1/d":                                          host("127.0.0.1:5432"),
		"hostaddr=127.0.0.1 user=u password=p dbname=d":                       host("127.0.0.1:5432"),
		"postgresql://u:p@%2Fvar%2Frun%2Fpostgresql/d":                        socket("/var/run/postgresql:5432"),
		"postgres://u:p@localhost/d?host=/cloudsql/project:region:instance":   socket("[/cloudsql/project:region:instance]:5432"),

		"postgres://u:p@h/d?schema=login&connection_limit=5&pgbouncer=true&pool_timeout=3&sslaccept=accept_invalid_certs&socket_timeout=3&statement_cache_size=0": schema("login"),
		"postgres://u:p@h/d?schema=Login":                                             schema("Login"),
		"jdbc:postgresql://h/d?user=u&password=p&currentSchema=Login,\"My+S\",public": schema("login", "My S", "public"),
		"postgres://u:p@h/d?search_path=A,+%22b%22+":                                  schema("a", "b"),
		"postgres://u:p@h/d?search_path=a%2C%20b":                                     schema("a", "b"),
		"postgres://u:p@h/d?search_path=%22%24user%22,public":                         schema("u", "public"),
		"host=h user=u password=p dbname=d options='-c search_path=login,pg_catalog'": schema("login"),
		"postgres://u:p@h/d?options=-csearch_path%3Dlogin":                            schema("login"),
		"postgres://u:p@h/d?options=-csearch_path=login":                              schema("login"),
		"postgres://u:p@h/d?options=-c+search_path%3Dlogin":                           schema("login"),
		"postgres://u:p@h/d?options=--search_path%3Dlogin&schema=login":               schema("login"),
		"Host=h;Username=u;Password=p;Database=d;Search Path=login":                   schema("login"),
		"postgres://u:p@h/d?options=-c%20search_path%3Da%5C%20b%20-c%20lock_timeout=5": with(func(s *shown) {
			s.Schemas, s.Params = []string{"a b"}, map[string]string{"options": "-c lock_timeout=5"}
		}),
		"postgres://u:p@h/d?options=endpoint%3Dep-1":      params("options", "endpoint=ep-1"),
		"postgres://u:p@h/d?options=project%3Dx":          params("options", "project=x"),
		"postgres://u:p@h/d?options=--cluster%3Dx-1":      params("options", "--cluster=x-1"),
		"postgres://u:p@h/d?app.user_id=7&lock_timeout=5": params("app.user_id", "7", "lock_timeout", "5"),
		"postgres://u:p@h/d?application_name=a%20b":       params("application_name", "a b"),

		"postgres://u:p@h/d?sslmode=no-verify":                                                       mode("require"),
		"postgres://u:p@h/d?ssl=true":                                                                mode("require"),
		"postgres://u:p@h/d?ssl=true&sslmode=verify-full":                                            mode("verify-full"),
		"host=h user=u password=p dbname=d requiressl=1":                                             mode("require"),
		"jdbc:postgresql://h/d?user=u&password=p&sslfactory=org.postgresql.ssl.NonValidatingFactory": mode("require"),
		"postgres://u:p@h/d?ssl=require":                                                             mode("require"),
		"postgres://u:p@h/d?ssl=false":                                                               mode("disable"),
		"postgres://u:p@h/d?sslmode=disable":                                                         mode("disable"),
		"postgres://u:p@h/d?sslmode=require&sslaccept=strict":                                        mode("verify-full"),
		"postgres://u:p@h/d?sslmode=require&channel_binding=require&gssencmode=disable&keepalives=1&keepalives_idle=3&tcp_user_timeout=9&target_session_attrs=any": mode("require"),
		"jdbc:postgresql://h/d?user=u&password=p&ssl=true":  mode("verify-full"),
		"jdbc:postgresql://h/d?user=u&password=p&ssl":       mode("verify-full"),
		"jdbc:postgresql://h/d?user=u&password=p&ssl=false": mode("prefer"),
		"jdbc:postgresql://h/d?user=u&password=p&ssl=true&sslfactory=org.postgresql.ssl.NonValidatingFactory&prepareThreshold=0&reWriteBatchedInserts=true&tcpKeepAlive&loggerLevel=OFF": mode("require"),
		"Host=h;Username=u;Password=p;Database=d;SSL Mode=Require;Trust Server Certificate=true;Pooling=false":                                                                           mode("require"),
		"Host=h;Username=u;Password=p;Database=d;SSL Mode=VerifyFull":                                                                                                                    mode("verify-full"),
	} {
		if diff := gocmp.Diff(want, show(t, given)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", given, diff)
		}
	}
}

// TestSecurityIsKept: what the address asks of the connection reaches pgx.
func TestSecurityIsKept(t *testing.T) {
	t.Parallel()
	a, err := Parse("postgres://u:p@a,b/d?sslmode=verify-full&channel_binding=require&target_session_attrs=read-write&sslnegotiation=direct&require_auth=scram-sha-256&ssl_min_protocol_version=TLSv1.3&pool_max_conns=7")
	if err != nil {
		t.Fatal(err)
	}
	pool, err := a.PoolConfig()
	if err != nil {
		t.Fatal(err)
	}
	c := pool.ConnConfig
	if c.ChannelBinding != "require" || c.RequireAuth != "scram-sha-256" || c.SSLNegotiation != "direct" || c.ValidateConnect == nil || pool.MaxConns != 7 || !a.Sets("pool_max_conns") {
		t.Errorf("%q, %q, %q, %v, %d", c.ChannelBinding, c.RequireAuth, c.SSLNegotiation, c.ValidateConnect != nil, pool.MaxConns)
	}
	if c.TLSConfig.MinVersion != tls.VersionTLS13 || c.Fallbacks[0].TLSConfig.MinVersion != tls.VersionTLS13 || c.TLSConfig.InsecureSkipVerify {
		t.Error("TLS is weaker than asked for")
	}
	a, err = Parse("jdbc:postgresql://a/d?targetServerType=preferSecondary")
	if err != nil || a.settings["target_session_attrs"] != "prefer-standby" {
		t.Errorf("%v, %v", a, err)
	}
}

// TestRefused: every problem at once, with its cure, without the password.
func TestRefused(t *testing.T) {
	t.Parallel()
	for given, says := range map[string][]string{
		"":                                                      {"empty"},
		"postgres://u:can@ary@h/d":                              {"@ as %40"},
		"postgres://u:can/ary@h/d":                              {"/ as %2F"},
		"postgres://u:can#ary@h/d":                              {"# as %23"},
		"postgres://u:can?ary@h/d":                              {"? as %3F"},
		"postgres://u:can?ary=1@h/d":                            {"? as %3F"},
		"postgres://u:c?user=nary@h/d":                          {"? as %3F"},
		"postgres://u:c?password=nary@h/d":                      {"? as %3F"},
		"postgres://u:can%ary@h/d":                              {"% as %25"},
		"postgres://u:canary%@h/d":                              {"% as %25"},
		"postgres://u:can ary@h/d":                              {"a blank as %20"},
		"postgres://u:can\nary@h/d":                             {"one line"},
		"postgres://u:c@n/a#r?y%@h/d":                           {"@ as %40, / as %2F, ? as %3F, # as %23, % as %25"},
		"postgres://u:can@ary/c@h/d?sslmode=no&nonsense=canary": {"3 problems", "@ as %40, / as %2F", "sslmode", "nonsense"},
		"postgres://me@server:canary@h/d":                       {"@ as %40"},
		"postgres://u:canary":                                   {"a port is no number", "%3A"},
		"postgres://u:canary/d":                                 {"a port is no number"},
		"postgres://u:canary@h:port/d":                          {"a port is no number"},
		"postgres://u:canary@h:70000/d":                         {"65535"},
		"postgres://u:canary@h!x/d":                             {"characters that no name of a host has"},
		"postgres://u:canary@2001:db8::1/d":                     {"brackets"},
		"postgres://u:canary@a,b/d?port=1,2,3":                  {"as many ports"},
		"postgres://u:canary@h/d/e":                             {"has a /"},
		"postgres://u:canary@h/d#canary":                        {"%23"},
		"postgres://u:canary@h/d%":                              {"%25"},
		"postgres://u:canary@h/d%00":                            {"NUL"},
		"postgres://u:canary@h/d\x00":                           {"NUL"},
		"u:canary@h/d":                                          {"no address", expected},
		"canary":                                                {"no address"},
		"-h host -U user":                                       {"options of a command"},
		"psql -h canary -U user d":                              {"options of a command"},
		"mysql://u:canary@h/d":                                  {"MySQL", "docs/supertokens.md"},
		"mariadb://u:canary@h/d":                                {"MySQL"},
		"mysql+pymysql://u:canary@h/d":                          {"MySQL"},
		"jdbc:mysql://h/d?password=canary":                      {"MySQL"},
		"https://u:canary@h/d":                                  {"connectionURI", "postgresql_connection_uri"},
		"prisma+postgres://accelerate?api_key=canary":           {"Prisma"},
		"redis://u:canary@h":                                    {"PostgreSQL"},
		"canary://h":                                            {"PostgreSQL"},

		"postgres://u:${DB_CANARY}@h/d":                            {"the password is still a placeholder", "%24"},
		"postgres://u:$canary@h/d":                                 {"the password is still a placeholder"},
		"postgres://$USER:p@${HOST}:${PORT}/$DB":                   {"3 problems", "the user", "a host or a port", "the name of the database"},
		"postgres://u:[YOUR-PASSWORD]@h/d":                         {"the password is still a placeholder"},
		"postgres://u:<canary>@h/d":                                {"the password is still a placeholder"},
		"postgres://u:********@h/d":                                {"the password is still a placeholder"},
		"host=h user=u password={{canary}} dbname=d":               {"the setting password is still a placeholder"},
		"postgres://u@h/d?password=$(canary)":                      {"the setting password is still a placeholder"},
		"${DATABASE_URL}":                                          {"no address"},
		"postgres://u:canary@h/d?sslmod=require":                   {"sslmod is not known", "did you mean sslmode"},
		"postgres://u:canary@h/d?nonsense=canary":                  {"the setting nonsense is not known", "leave it out"},
		"jdbc:postgresql://h/d?password=c%a&nary=x":                {"not shown", "%25"},
		"postgres://u:@h/d?cana=1":                                 {"not shown"},
		"postgres://h/d?cana=1":                                    {"not shown"},
		"postgres://u@h/d?cana=1":                                  {"cana is not known"},
		"jdbc:postgresql://h/d?user=u&password=c&user=a&nary=x":    {"not shown"},
		"jdbc:postgresql://h/d?user=u&password=c&ssl=1&nonsense=x": {"nonsense is not known"},
		"postgres://u:canary@h/d?password=b":                       {"two passwords"},
		"postgres://u:c@canary?password=x@y@h/d@":                  {"?"},
		"postgres://u@h/d?password=ca&nary=x&y=z":                  {"not shown", "%26"},
		"host=h password=can ary=b dbname=d":                       {"not shown", "quotes"},
		"host=h password=can ary dbname=d":                         {"do not follow each other", "'two words'"},
		"host=h password='canary":                                  {"not closed"},
		"Host=h;Password=ca;nary=b;Database=d":                     {"not shown", "quotes"},
		"Host=h;Password=ca;nary;Database=d":                       {"quotes"},
		"host=h password=canary port=abc":                          {"a port is no number"},
		"host=h:5432 user=u password=canary dbname=d":              {"a host has a :"},
		"host=h hostaddr=1.2.3.4 password=canary":                  {"hostaddr"},
		"postgres://u:canary@h/d?schema=a&search_path=b":           {"schema and search_path name different schemas"},
		"postgres://u:canary@h/d?sslmode=canary&channel_binding=canary&target_session_attrs=prefer-primary&connect_timeout=canary&pool_max_conns=0": {
			"5 problems", "verify-full", "write one of disable, prefer, require", "prefer-standby", "number of seconds", "number of connections",
		},
		"postgres://u:canary@h/d?gssencmode=require&sslcrl=x&requirepeer=u&ssl={\"rejectUnauthorized\":false}": {
			"4 problems", "gssencmode=disable", "revoked", "requirepeer", "sslmode=require",
		},
		"jdbc:postgresql://h/d?socketFactory=com.google.cloud.sql.postgres.SocketFactory&password=canary&cloudSqlInstance=a:b:c": {"host=/cloudsql/"},
		"jdbc:postgresql://h/d?sslfactory=com.example.Mine&targetServerType=preferPrimary":                                       {"sslmode=verify-full", "preferSecondary"},

		"postgres://u:canary@h/d?sslcert=ca.pem":       {"sslrootcert"},
		"postgres://u:canary@h/d?sslmode":              {"sslmode"},
		"postgres://u:canary@h/d?sslmode=prefer&ssl=1": {"different things"},
		"postgres://u:canary@h/d?connect_timeout":      {"has no value"},
		"postgres://u:canary@h/d?pool_ping_timeout=1x": {"duration"},
	} {
		_, err := Parse(given)
		var refused *Error
		if !errors.As(err, &refused) {
			t.Errorf("%q: error %v", given, err)
			continue
		}
		for _, word := range says {
			if !strings.Contains(err.Error(), word) {
				t.Errorf("%q: %q is not in %v", given, word, err)
			}
		}
		for _, piece := range []string{"canary", "can@", "nary", "ary@", "DB_CANARY", "\n"} {
			if strings.Contains(err.Error(), piece) {
				t.Errorf("%q: %q is repeated: %v", given, piece, err)
			}
		}
		for _, p := range refused.Problems {
			if p.What == "" || p.Cure == "" {
				t.Errorf("%q: a problem without a cure: %+v", given, p)
			}
		}
	}
}

// TestRulesAreReachable: a setting is in one table only, or one of its meanings
// would never count.
func TestRulesAreReachable(t *testing.T) {
	t.Parallel()
	seen := map[string]string{}
	note := func(name, table string) {
		if before := seen[fold(name)]; before != "" {
			t.Errorf("%s is %s and %s", name, before, table)
		}
		seen[fold(name)] = table
	}
	for keyword, spellings := range kept {
		for name := range strings.FieldsSeq(keyword + " " + spellings) {
			note(name, "kept as "+keyword)
		}
	}
	for name := range strings.FieldsSeq(dropped) {
		note(name, "dropped")
	}
	for name := range refused {
		note(name, "refused")
	}
	for name := range onlyHarmless {
		note(name, "harmless")
	}
	for name := range strings.FieldsSeq(schemaSettings) {
		note(name, "a schema")
	}
	for name := range special {
		note(name, "special")
		if name != fold(name) {
			t.Errorf("%s is not folded", name)
		}
	}
	if len(seen) != len(rules) {
		t.Errorf("%d names, %d rules", len(seen), len(rules))
	}
}

// canaryPieces are the parts of a password that nothing may show. They begin no
// word of a message.
func canaryPieces(password string) []string {
	var out []string
	for i := 0; i+4 <= len(password); i++ {
		out = append(out, password[i:i+4])
	}
	return out
}

// addressOf builds an address whose password is as somebody pasted it.
func addressOf(form uint8, password, tail string) string {
	switch form % 8 {
	case 0:
		return "postgres://user:" + password + "@db.example:5432/app" + tail
	case 1:
		return "postgresql://user:" + password + "@db.example,db2.example/app?sslmode=require&" + tail
	case 2:
		return "jdbc:postgresql://db.example/app?user=user&password=" + password + "&ssl=true&" + tail
	case 3:
		return "host=db.example user=user password=" + password + " dbname=app " + tail
	case 4:
		return "Host=db.example;Username=user;Password=" + password + ";Database=app;" + tail
	case 5:
		return "postgres://user:" + password + tail
	case 6:
		return "DATABASE_URL=\"postgres+asyncpg://user:" + password + "@[::1]/app?schema=login\"" + tail
	default:
		return "postgres://db.example/app?user=user&password=" + password + "&schema=login" + tail
	}
}

// specials are what passwords have and addresses give a meaning to.
var specials = []string{
	"", "@", "/", "?", "#", "%", ":", " ", "&", "=", ";", "'", "\"", "\\", "$", "${", "[", "]", "%4", "@@", "/@", "?a=", "&b=", "&user=", "?password=", "\n", "://", "${X}", "<", ">",
	"`", ",", "+", "%00", "@x:1/", "-c ", ".", "!",
}

var tails = []string{"", "&nonsense=1", "?schema=a", "#x", "?ssl=maybe&sslmode=x", "@", "/", " "}

// TestNoPieceOfPassword builds addresses from parts, always the same ones.
func TestNoPieceOfPassword(t *testing.T) { // not parallel: it replaces the resolver of the process
	testenv.Slow(t, "judges ten thousand addresses")
	asked := trapDNS()
	random := rand.New(rand.NewPCG(1, 2))
	pick := func(from []string) string { return from[random.IntN(len(from))] }
	refused := 0
	for range 10_000 {
		password := "Zq7X" + pick(specials) + pick(specials) + "Kw9J" + pick(specials) + "Vx3Q" + pick(specials)
		if checkAddress(t, asked, uint8(random.IntN(8)), password, pick(tails)) {
			refused++
		}
	}
	if refused < 3_000 || refused > 9_500 {
		t.Errorf("%d of 10000 are refused: the parts do not try much", refused)
	}
}

// FuzzNoPieceOfPassword: whatever the password is and wherever it was put, no error
// shows a piece of it, no host is a piece of it, and nothing asks DNS.
func FuzzNoPieceOfPassword(f *testing.F) {
	for i, s := range specials {
		f.Add(uint8(i), "Zq7X"+s+"Kw9J", tails[i%len(tails)])
	}
	asked := trapDNS()
	f.Fuzz(func(t *testing.T, form uint8, password, tail string) { checkAddress(t, asked, form, password, tail) })
}

// checkAddress reports whether the address is refused.
func checkAddress(t *testing.T, asked func() int, form uint8, password, tail string) bool {
	t.Helper()
	if form%8 == 5 && strings.Contains(password, "@") {
		return false // an address that was cut inside such a password is another address
	}
	text := addressOf(form, password, tail)
	a, err := Parse(text)
	if err == nil {
		_, err = a.PoolConfig()
	}
	if n := asked(); n > 0 {
		t.Fatalf("%q: DNS was asked %d times", text, n)
	}
	if err != nil {
		for _, piece := range canaryPieces(password) {
			if strings.Contains(err.Error(), piece) && !strings.Contains(ownWords+tail, piece) {
				t.Errorf("%q: %q is repeated: %v", text, piece, err)
			}
		}
		return true
	}
	// In the other forms a password can say that it means another host.
	if host := hostOf(a, password); host != "" && slices.Contains([]uint8{0, 1, 6}, form%8) {
		t.Errorf("%q: a piece of the password is the host %q", text, host)
	}
	return false
}

// hostOf is a host of the address that is a piece of the password.
func hostOf(a *Address, password string) string {
	for host := range strings.SplitSeq(a.settings["host"], ",") {
		if len(host) >= 4 && strings.Contains(password, host) {
			return host
		}
	}
	return ""
}

// ownWords has what messages say on their own: the password of a fuzzer may be a word
// of them.
var ownWords = func() string {
	var b strings.Builder
	for _, text := range []string{
		"", "u:p@h", "https://x", "mysql://x", "prisma://x", "x://x", "-h", "postgres://u:@/?#% @h:x,h:1:2,h!/a/b%#x?q&port=70000&host=a!b:c", "postgres://u:\n@h",
		"postgres://${A}:${A}@${A}:${A}/${A}?user=${A}&nonsense=1&sslmod=x&ssl={&sslmode=x&sslaccept=x&schema=a&search_path=b&connect_timeout=x&connect_timeout&password=x&x=y",
		"host=h password=a b", "host=h password='", "Host=h;Password=a;b=c;d", "host=h password=a b=c",
	} {
		if _, err := Parse(text); err != nil {
			b.WriteString(err.Error() + "\n")
		}
	}
	for name := range rules {
		b.WriteString(name + "\n")
	}
	return b.String()
}()

// trapDNS makes the resolver that pgx uses count instead of ask.
func trapDNS() func() int {
	asked := 0
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		asked++
		return nil, errors.New("nothing is asked")
	}}
	return func() int { return asked }
}

// TestEscapedPasswordsArrive: any password, escaped or quoted by the rules of the
// form, comes out as it went in.
func TestEscapedPasswordsArrive(t *testing.T) {
	t.Parallel()
	for _, password := range []string{"a@b/c?d#e%f:g", "${x}", "$x", "<x>", `'"\`, " lead and trail ", "a;b=c&d", "ä😀", "%41", "[x]", "++", "a=b host=evil"} {
		quoted := strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(password)
		escaped := strings.ReplaceAll(url.QueryEscape(password), "+", "%20")
		texts := []string{
			"postgres://u:" + escaped + "@h/d",
			"postgres://u@h/d?password=" + escaped,
			"jdbc:postgresql://h/d?user=u&password=" + url.QueryEscape(password),
		}
		if !placeholder.MatchString(password) {
			texts = append(texts, "host=h user=u password='"+quoted+"'", `Host=h;Username=u;Password="`+strings.ReplaceAll(password, `"`, `""`)+`"`)
		}
		for _, text := range texts {
			a, err := Parse(text)
			if err != nil {
				t.Errorf("%q: %v", text, err)
				continue
			}
			pool, err := a.PoolConfig()
			if err != nil || pool.ConnConfig.Password != password || pool.ConnConfig.Host != "h" {
				t.Errorf("%q: password %q at %q, error %v", text, pool.ConnConfig.Password, pool.ConnConfig.Host, err)
			}
		}
	}
}
