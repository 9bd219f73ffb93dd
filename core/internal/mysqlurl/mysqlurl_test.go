package mysqlurl

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stetl/stetl/core/internal/pgurl"
)

func TestParse(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"mysql://u:p%40w@h:3307/d":                                                            "u p@w tcp h:3307 d preferred",
		"mysql://u@h":                                                                         "u  tcp h:3306  preferred",
		"mysql://u:p@[::1]/d":                                                                 "u p tcp [::1]:3306 d preferred",
		"mariadb://u:p@h/d?ssl-mode=REQUIRED":                                                 "u p tcp h:3306 d required",
		"mysql2://u:p@h/d?sslmode=verify-full&reconnect=true":                                 "u p tcp h:3306 d identified",
		"mysql+pymysql://u:p@h/d?charset=utf8mb4":                                             "u p tcp h:3306 d preferred",
		"mysql://u:p@localhost/d?unix_socket=/run/mysqld/mysqld.sock":                         "u p unix /run/mysqld/mysqld.sock d preferred",
		"jdbc:mysql://h:3306/d?user=u&password=p&useSSL=false":                                "u p tcp h:3306 d disabled",
		"jdbc:mysql://h/d?user=u&password=p&sslMode=VERIFY_CA":                                "u p tcp h:3306 d verified",
		"jdbc:mysql://h/d?user=u&useSSL=true&verifyServerCertificate=true&serverTimezone=UTC": "u  tcp h:3306 d verified",
		"jdbc:mysql://h/d?user=u&useSSL=true":                                                 "u  tcp h:3306 d required",
		"jdbc:mariadb://h/d?user=u&password=a%26b&sslMode=trust":                              "u a&b tcp h:3306 d required",
		"u:p@ss/w:rd@tcp(h:3307)/d?parseTime=true&tls=skip-verify":                            "u p@ss/w:rd tcp h:3307 d required",
		"u:p@unix(/tmp/mysql.sock)/d":                                                         "u p unix /tmp/mysql.sock d preferred",
		"u@tcp(h)/":                                                                           "u  tcp h:3306  preferred",
		`MYSQL_CONNECTION_URI="mysql://u:p@h/d"`:                                              "u p tcp h:3306 d preferred",
		"mysql://u:p@h/d?sslca=/ca.pem":                                                       "u p tcp h:3306 d verified",
		"mysql://u:p@h/d?ssl=true":                                                            "u p tcp h:3306 d identified",
	} {
		a, err := Parse(text)
		if err != nil || !Is(text) {
			t.Errorf("%s: %v, taken for one of MySQL: %v", text, err, Is(text))
			continue
		}
		level := map[level]string{preferred: "preferred", disabled: "disabled", required: "required", verified: "verified", identified: "identified"}[a.tls.level]
		if got := strings.Join([]string{a.config.User, a.config.Passwd, a.config.Net, a.config.Addr, a.Database, level}, " "); got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
}

func TestRefused(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"mysql://u:can#ary@h/d":                   "%23",
		"mysql://u:can/ary@h/d":                   "%2F",
		"mysql://u:canary@h/d/e":                  "%2F",
		"mysql://u:canary@h/d?allowAllFiles=true": "the setting allowAllFiles is not known",
		"mysql://u:canary@h/d?tls=custom":         "the setting tls has a value that is not known",
		"mysql://u:canary@h/d?sslcert=/c.pem":     "belong together",
		"mysql://u:canary@h/d?ssl=false&sslca=/x": "encryption is switched off",
		"jdbc:mysql://h/d?password=a&canary!=x":   "may be the end of a password",
		"jdbc:mysql://(host=h,port=1)/d":          "cannot be read",
		"u:canary@tcp(h)/d%zz?tls=1":              "cannot be read",
	} {
		_, err := Parse(text)
		if e, ok := errors.AsType[*pgurl.Error](err); !ok || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "ary") && strings.Contains(err.Error(), "can") && !strings.Contains(err.Error(), "cannot") {
			t.Errorf("%s: %v (%T), want %q in it", text, err, e, want)
		}
	}
	for _, text := range []string{"postgres://u:p@h/d", "host=h dbname=d", "jdbc:postgresql://h/d", "", "u:p@h/d"} {
		if Is(text) {
			t.Errorf("%q is taken for one of MySQL", text)
		}
	}
}

func TestConfig(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	empty := filepath.Join(dir, "empty.pem")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		"mysql://h/d":                                                      "",
		"mysql://h/d?ssl-mode=VERIFY_IDENTITY":                             "",
		"mysql://h/d?ssl-ca=" + filepath.Join(dir, "none"):                 "cannot be read",
		"mysql://h/d?ssl-ca=" + empty:                                      "there is none in it",
		"mysql://h/d?tls=required&ssl-cert=" + empty + "&ssl-key=" + empty: "certificate that cannot be used",
	} {
		a, err := Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		c, err := a.Config()
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
		if want == "" && c.TLSConfig == "" && (c.TLS == nil || c.TLS.ServerName != "h" || c.TLS.InsecureSkipVerify) {
			t.Errorf("%s: %+v", text, c.TLS)
		}
	}
}
