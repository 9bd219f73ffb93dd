//go:build unix

package plugin

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stetl/stetl/core/diag"
)

func TestFind(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	path := executable(t, dir, "stetl-plugin-acme", "#!/bin/sh\n")
	executable(t, dir, "stetl-plugin-keycloak", "#!/bin/sh\n")
	own := executable(t, t.TempDir(), "mine", "#!/bin/sh\n")
	bundled := Bundled{"keycloak": {"plugin-serve", "keycloak"}}

	for name, tc := range map[string]struct {
		plugin string
		o      Options
		want   Location
	}{
		"bundled":                            {"keycloak", Options{Bundled: bundled}, Location{Name: "keycloak", Path: self, Args: []string{"plugin-serve", "keycloak"}, Bundled: true}},
		"bundled, not shadowed by a folder":  {"keycloak", Options{Bundled: bundled, Dir: dir}, Location{Name: "keycloak", Path: self, Args: []string{"plugin-serve", "keycloak"}, Bundled: true}},
		"path":                               {"acme", Options{Bundled: bundled, Path: own, Dir: dir}, Location{Name: "acme", Path: own}},
		"path replaces a bundled one":        {"keycloak", Options{Bundled: bundled, Path: own}, Location{Name: "keycloak", Path: own}},
		"folder":                             {"acme", Options{Bundled: bundled, Dir: dir}, Location{Name: "acme", Path: path}},
		"folder, nothing bundled whatsoever": {"acme", Options{Dir: dir}, Location{Name: "acme", Path: path}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Find(tc.plugin, tc.o)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestFindNeverLooksAroundItself(t *testing.T) {
	dir := t.TempDir()
	executable(t, dir, "stetl-plugin-acme", "#!/bin/sh\n")
	t.Chdir(dir)
	t.Setenv("PATH", dir)
	_, err := Find("acme", Options{})
	wantError(t, err, &Error{Code: diag.PluginNotFound, Cause: "there is no "})
}

func TestFindFailures(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	plain := filepath.Join(dir, "stetl-plugin-plain")
	if err := os.WriteFile(plain, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "stetl-plugin-folder"), 0o700); err != nil {
		t.Fatal(err)
	}
	bundled := Bundled{"keycloak": nil, "auth0": nil}
	for name, tc := range map[string]struct {
		plugin string
		o      Options
		want   *Error
		fix    string
	}{
		"missing":         {"acme", Options{Dir: dir}, &Error{Code: diag.PluginNotFound, Cause: "there is no " + dir + "/stetl-plugin-acme"}, "put the executable there, or set path or plugin_dir"},
		"misspelled":      {"keyclaok", Options{Dir: dir, Bundled: bundled}, &Error{Code: diag.PluginNotFound, Cause: "there is no"}, "did you mean keycloak?"},
		"path missing":    {"acme", Options{Path: dir + "/nothing"}, &Error{Code: diag.PluginNotFound, Cause: "there is no " + dir + "/nothing"}, "correct the path of the plugin"},
		"path relative":   {"acme", Options{Path: "./acme"}, &Error{Code: diag.PluginNotFound, Cause: "path ./acme is relative"}, "give the absolute path"},
		"folder relative": {"acme", Options{Dir: "plugins"}, &Error{Code: diag.PluginNotFound, Cause: "plugin_dir plugins is relative"}, "give the absolute path"},
		"not executable":  {"plain", Options{Dir: dir}, &Error{Code: diag.PluginNotExecutable, Cause: plain + " is not executable"}, "run chmod +x " + plain},
		"directory":       {"folder", Options{Dir: dir}, &Error{Code: diag.PluginNotExecutable, Cause: "/stetl-plugin-folder is a directory"}, "name the executable in it, or give it the name of the folder"},
		"device":          {"null", Options{Path: os.DevNull}, &Error{Code: diag.PluginNotExecutable, Cause: "is not a regular file"}, "replace it by the executable"},
		"path traversal":  {"../../bin/sh", Options{Dir: dir}, &Error{Code: diag.PluginBadName, Cause: `"../../bin/sh" is not a plugin name`}, "use lower-case letters, digits and single dashes"},
		"nothing at all":  {"", Options{Dir: dir}, &Error{Code: diag.PluginBadName, Cause: `"" is not a plugin name`}, "use lower-case letters, digits and single dashes"},
		"no such folder":  {"acme", Options{Dir: dir + "/none"}, &Error{Code: diag.PluginNotFound, Cause: "there is no " + dir + "/none/stetl-plugin-acme"}, "put the executable there, or set path or plugin_dir"},
		"file for folder": {"acme", Options{Dir: plain}, &Error{Code: diag.PluginNotFound, Cause: "cannot be examined: not a directory"}, "check the permissions of its folder"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := Find(tc.plugin, tc.o)
			wantError(t, err, tc.want)
			if got, ok := err.(*Error); ok && got.Fix != tc.fix { //nolint:errorlint // wantError has been through it
				t.Errorf("fix %q, want %q", got.Fix, tc.fix)
			}
		})
	}
}
