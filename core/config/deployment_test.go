package config

import (
	"io/fs"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Settings are found in every form in which people deploy a program.
func TestReadDeployment(t *testing.T) {
	t.Parallel()
	wanted := func(name string) bool { return strings.HasPrefix(strings.ToLower(name), "db_") }
	for name, tt := range map[string]struct {
		text, service string
		settings      map[string]string
		published     map[string]string
		problem       string
	}{
		"variables": {
			text:     "# the core\nexport DB_HOST=db.internal\nDB_PASSWORD='a b#c' # quoted\nDB_PORT = 5433 # a comment\nDB_EMPTY=\nno line\n",
			settings: map[string]string{"DB_HOST": "db.internal", "DB_PASSWORD": "a b#c", "DB_PORT": "5433", "DB_EMPTY": ""},
		},
		"settings": {
			text:     "core_config_version: 0\ndb_host: db.internal\ndb_port: 5433\ndb_password: \"a: b\"\nlist: [1]\n",
			settings: map[string]string{"core_config_version": "0", "db_host": "db.internal", "db_port": "5433", "db_password": "a: b"},
		},
		"a mapping of variables, from files, defaults and the environment": {
			text: `x-common: &common {DB_HOST: "${HOST:-db}", DB_LITERAL: "$$5"}
services:
  web: {image: web, environment: {DB_ONE: x}, ports: ["8080:80"]}
  db: {image: db, ports: ["127.0.0.1:5433:5432/tcp", {target: 9, published: "10"}, "3306"]}
  core:
    env_file: [core.env]
    environment: {<<: *common, DB_USER: $WHO, DB_PASSWORD: null, DB_NAME: "${UNSET-none}"}
`,
			service:   "core",
			settings:  map[string]string{"DB_HOST": "db", "DB_LITERAL": "$5", "DB_USER": "ada", "DB_PASSWORD": "outside", "DB_NAME": "none", "DB_FROM_FILE": "yes"},
			published: map[string]string{"web:80": "8080", "db:5432": "5433", "db:9": "10"},
		},
		"a list of variables": {
			text:    "services:\n  core:\n    env_file: core.env\n    environment:\n      - DB_HOST=h\n      - DB_PASSWORD\n",
			service: "core", settings: map[string]string{"DB_HOST": "h", "DB_PASSWORD": "outside", "DB_FROM_FILE": "yes"},
		},
		"no service of that kind": {text: "services: {web: {image: web}}\n", problem: "no service"},
		"prose":                   {text: "Ask Ada.\n", problem: "neither"},
		"a file that is missing":  {text: "services: {core: {env_file: absent.env}}\n", problem: "absent.env"},
	} {
		env := Env{
			Lookup: func(name string) (string, bool) {
				v, ok := map[string]string{"DB_PASSWORD": "outside"}[name]
				return v, ok
			},
			ReadFile: func(path string) ([]byte, error) {
				text, ok := map[string]string{"d/file": tt.text, "d/core.env": "DB_FROM_FILE=yes\nDB_HOST=overridden\n", "d/.env": "WHO=ada\nDB_PASSWORD=beside\n"}[path]
				if !ok {
					return nil, fs.ErrNotExist
				}
				return []byte(text), nil
			},
		}
		d, err := ReadDeployment("d/file", env, wanted)
		if tt.problem != "" {
			if err == nil || !strings.Contains(err.Error(), tt.problem) {
				t.Errorf("%s: %v, want %q", name, err, tt.problem)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if tt.published == nil {
			tt.published = map[string]string{}
		}
		if diff := cmp.Diff(tt.settings, d.Settings); diff != "" || d.Service != tt.service {
			t.Errorf("%s: service %q (-want +got)\n%s", name, d.Service, diff)
		}
		if diff := cmp.Diff(tt.published, d.Published); diff != "" {
			t.Errorf("%s: ports (-want +got)\n%s", name, diff)
		}
	}
}
