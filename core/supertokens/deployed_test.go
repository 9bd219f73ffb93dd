package supertokens

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stetl/stetl/core/canonical"
)

// The address that is written is one that can be read once its references are resolved,
// whatever is in the password; and the password is not in it.
func TestFromSettings(t *testing.T) {
	t.Parallel()
	published := func(host, port string) (string, bool) { return "15432", host == "db" && port == "5432" }
	for name, tt := range map[string]struct {
		settings map[string]string
		want     Deployed
	}{
		"nothing": {map[string]string{"PORT": "3567", "MYSQL_ROOT_PASSWORD": "x", "MYSQL_DATABASE": "x"}, Deployed{}},
		"parts, a plain password, other names": {
			map[string]string{
				"postgresql_host": "h", "postgresql_user": "u", "postgresql_password": "p4ss", "postgresql_database_name": "d", "postgresql_table_schema": "s", "postgresql_table_names_prefix": "pre",
				"postgresql_emailpassword_users_table_name": "people", "postgresql_connection_pool_size": "4", "migration_mode": "migrated",
			},
			Deployed{
				URL: "postgresql://u:${env:POSTGRESQL_PASSWORD}@h:5432/d", Secrets: map[string]string{"POSTGRESQL_PASSWORD": "p4ss"}, Database: "d on h:5432",
				Schema: "s", TablePrefix: "pre", Tables: map[string]string{"emailpassword_users": "people"}, MigrationMode: "MIGRATED",
			},
		},
		"parts, an odd password, a host of Docker's": {
			map[string]string{"POSTGRESQL_HOST": "db", "POSTGRESQL_USER": "u", "POSTGRESQL_PASSWORD": "a b@/#%"},
			Deployed{URL: "host=localhost port=15432 dbname=supertokens user=u password='${env:POSTGRESQL_PASSWORD}'", Secrets: map[string]string{"POSTGRESQL_PASSWORD": "a b@/#%"}, Database: "supertokens on localhost:15432"},
		},
		"parts, a password that nothing can hold": {
			map[string]string{"POSTGRESQL_HOST": "h", "POSTGRESQL_USER": "u", "POSTGRESQL_PASSWORD": `it's \`},
			Deployed{URL: "${env:SUPERTOKENS_DATABASE_URL}", Secrets: map[string]string{"SUPERTOKENS_DATABASE_URL": "postgresql://u:it%27s%20%5C@h:5432/supertokens"}, Database: "supertokens on h:5432", Left: "the password has characters"},
		},
		"no password": {map[string]string{"POSTGRESQL_HOST": "h", "POSTGRESQL_USER": "u"}, Deployed{URL: "postgresql://u@h:5432/supertokens", Database: "supertokens on h:5432"}},
		"an address":  {map[string]string{"POSTGRESQL_CONNECTION_URI": "postgresql://u:p@h:1/d"}, Deployed{URL: "${env:POSTGRESQL_CONNECTION_URI}", Secrets: map[string]string{"POSTGRESQL_CONNECTION_URI": "postgresql://u:p@h:1/d"}, Database: "d on h:1"}},
		"an address of Docker's": {
			map[string]string{"POSTGRESQL_CONNECTION_URI": "postgresql://u:p@db/d"},
			Deployed{URL: "${env:SUPERTOKENS_DATABASE_URL}", Secrets: map[string]string{"SUPERTOKENS_DATABASE_URL": "postgresql://u:p@localhost:15432/d"}, Database: "d on localhost:15432", Left: "a name inside of Docker"},
		},
		"MySQL, and a key of Firebase's": {
			map[string]string{"MYSQL_HOST": "h", "MYSQL_USER": "u", "MYSQL_PASSWORD": "p", "FIREBASE_PASSWORD_HASHING_SIGNER_KEY": "a2V5"},
			Deployed{URL: "mysql://u:${env:MYSQL_PASSWORD}@h:3306/supertokens", Secrets: map[string]string{"MYSQL_PASSWORD": "p", "FIREBASE_PASSWORD_HASHING_SIGNER_KEY": "a2V5"}, Database: "supertokens on h:3306", FirebaseKey: "FIREBASE_PASSWORD_HASHING_SIGNER_KEY"},
		},
	} {
		got := FromSettings(tt.settings, published)
		if tt.want.URL == "" {
			if got != nil {
				t.Errorf("%s: %+v", name, got)
			}
			continue
		}
		if got == nil {
			t.Errorf("%s: nothing was found", name)
			continue
		}
		if !strings.Contains(got.Left, tt.want.Left) || tt.want.Left == "" && got.Left != "" {
			t.Errorf("%s: left to do: %q", name, got.Left)
		}
		got.Left, tt.want.Left = "", ""
		for _, m := range []*map[string]string{&tt.want.Tables, &tt.want.Secrets} {
			if *m == nil {
				*m = map[string]string{}
			}
		}
		if diff := cmp.Diff(&tt.want, got); diff != "" {
			t.Errorf("%s (-want +got)\n%s", name, diff)
		}
		address := got.URL
		for variable, value := range got.Secrets {
			address = strings.ReplaceAll(address, "${env:"+variable+"}", value)
		}
		if err := CheckURL(canonical.NewSecret(address)); err != nil {
			t.Errorf("%s: the address cannot be read: %v", name, err)
		}
	}
}
