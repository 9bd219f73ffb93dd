package supertokens

import (
	"cmp"
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// Deployed is what the settings of a core say of its database. What they do not say is
// what the core takes then, or empty where that is detected.
type Deployed struct {
	// Settings of the source.
	Schema        string
	TablePrefix   string
	Tables        map[string]string
	MigrationMode string
	// FirebaseKey is the name of the setting that holds the signer key of hashes from
	// Firebase; empty where there is none.
	FirebaseKey string
	// Database is what the address of the database is, for people.
	Database string
	// URL is the address for a configuration: with references for what is secret, which are
	// the names in Secrets. Left says what is to be done for it.
	URL     string
	Secrets map[string]string
	Left    string
}

// addressVariable is the variable for an address that no setting holds as it is needed.
const addressVariable = "SUPERTOKENS_DATABASE_URL"

// IsSetting says whether a core has such a setting, in its file or in its environment,
// about its database.
func IsSetting(name string) bool {
	folded := strings.ToLower(name)
	return strings.HasPrefix(folded, "postgresql_") || strings.HasPrefix(folded, "mysql_") && !isServerSetting(folded) || folded == firebaseSetting
}

const firebaseSetting = "firebase_password_hashing_signer_key"

// isServerSetting tells the settings of the image of MySQL itself from those of a core.
func isServerSetting(folded string) bool {
	return slices.Contains([]string{"mysql_root_password", "mysql_database", "mysql_allow_empty_password", "mysql_root_host", "mysql_random_root_password"}, folded)
}

// FromSettings reads the settings of a core, by the names in its file or its environment.
// Of a host that published knows, the address on this machine is taken. It is nil where no
// setting is about a database.
func FromSettings(settings map[string]string, published func(host, port string) (string, bool)) *Deployed {
	known := map[string]string{} // by folded name
	names := map[string]string{} // as they are written
	for name, value := range settings {
		if value != "" && IsSetting(name) {
			folded := strings.ToLower(name)
			known[folded], names[folded] = value, name
		}
	}
	if len(known) == 0 {
		return nil
	}
	a := address{known: known, names: names, prefix: "postgresql_", scheme: "postgresql", port: "5432"}
	if !slices.ContainsFunc(slices.Collect(maps.Keys(known)), func(n string) bool { return strings.HasPrefix(n, "postgresql_") }) {
		a.prefix, a.scheme, a.port = "mysql_", "mysql", "3306"
	}
	d := &Deployed{
		Schema: known[a.prefix+"table_schema"], TablePrefix: known[a.prefix+"table_names_prefix"],
		MigrationMode: strings.ToUpper(cmp.Or(known["migration_mode"], settings["migration_mode"], settings["MIGRATION_MODE"])),
		Tables:        map[string]string{}, Secrets: map[string]string{},
	}
	if known[firebaseSetting] != "" {
		d.FirebaseKey = strings.ToUpper(firebaseSetting)
		d.Secrets[d.FirebaseKey] = known[firebaseSetting]
	}
	for _, table := range RenamableTables() {
		if name := known[a.prefix+table+"_table_name"]; name != "" && name != table {
			d.Tables[table] = name
		}
	}
	a.write(d, published)
	return d
}

// address is that of the database of a core, as its settings have it.
type address struct {
	known, names         map[string]string
	prefix, scheme, port string
}

func (a *address) get(setting string) string { return a.known[a.prefix+setting] }

// plainPassword is one that may stand in an address as it is.
var plainPassword = regexp.MustCompile(`^[A-Za-z0-9._~!$*+,;=^-]*$`)

// write gives d its address.
func (a *address) write(d *Deployed, published func(host, port string) (string, bool)) {
	if uri := a.get("connection_uri"); uri != "" {
		a.fromURI(d, uri, published)
		return
	}
	host, port := cmp.Or(a.get("host"), "localhost"), cmp.Or(a.get("port"), a.port)
	if at, ok := published(host, port); ok {
		host, port = "localhost", at
	}
	user, database := cmp.Or(a.get("user"), "root"), cmp.Or(a.get("database_name"), "supertokens")
	password, attributes := a.get("password"), a.get("connection_attributes")
	d.Database = fmt.Sprintf("%s on %s:%s", database, host, port)
	if attributes != "" {
		attributes = "?" + attributes
	}
	variable := strings.ToUpper(a.prefix + "password")
	whole := url.URL{Scheme: a.scheme, User: url.UserPassword(user, password), Host: host + ":" + port, Path: "/" + database}
	switch {
	case password == "":
		d.URL = (&url.URL{Scheme: a.scheme, User: url.User(user), Host: host + ":" + port, Path: "/" + database}).String() + attributes
	case plainPassword.MatchString(password):
		d.URL = fmt.Sprintf("%s://%s:${env:%s}@%s:%s/%s%s", a.scheme, url.PathEscape(user), variable, host, port, url.PathEscape(database), attributes)
		d.Secrets[variable] = password
	case a.scheme == "postgresql" && attributes == "" && !strings.ContainsAny(password, `'\`) && !strings.ContainsAny(user+database+host, ` '\`):
		d.URL = fmt.Sprintf("host=%s port=%s dbname=%s user=%s password='${env:%s}'", host, port, database, user, variable)
		d.Secrets[variable] = password
	default:
		d.URL, d.Secrets[addressVariable] = "${env:"+addressVariable+"}", whole.String()+attributes
		d.Left = fmt.Sprintf("the password has characters that an address needs in another form: write %s://%s:PASSWORD@%s:%s/%s%s, each of them in it as %%XX",
			a.scheme, url.PathEscape(user), host, port, database, attributes)
	}
}

// fromURI takes an address that is whole. Where it names a host that this machine does not
// know, it has to be another one.
func (a *address) fromURI(d *Deployed, uri string, published func(host, port string) (string, bool)) {
	variable := strings.ToUpper(a.prefix + "connection_uri")
	u, err := url.Parse(uri)
	if err != nil || u.Host == "" {
		d.URL, d.Secrets[variable] = "${env:"+variable+"}", uri
		d.Database = "what " + variable + " says"
		return
	}
	host, port := u.Hostname(), cmp.Or(u.Port(), a.port)
	if at, ok := published(host, port); ok {
		u.Host = "localhost:" + at
		d.URL, d.Secrets[addressVariable] = "${env:"+addressVariable+"}", u.String()
		d.Left = fmt.Sprintf("it is %s with %s instead of %s:%s, which is a name inside of Docker", variable, u.Host, host, port)
	} else {
		d.URL, d.Secrets[variable] = "${env:"+variable+"}", uri
	}
	d.Database = fmt.Sprintf("%s on %s", strings.TrimPrefix(u.Path, "/"), u.Host)
}
