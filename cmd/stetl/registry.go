package main

import (
	"maps"
	"slices"

	"github.com/stetl/stetl/core/bridge"
	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/sdk"
	"github.com/stetl/stetl/plugins/auth0"
	scim "github.com/stetl/stetl/plugins/generic-scim"
	sqltarget "github.com/stetl/stetl/plugins/generic-sql"
	"github.com/stetl/stetl/plugins/keycloak"
	"github.com/stetl/stetl/plugins/keycloak/provider"
)

// bundled is a plugin that this executable serves itself, in a child process.
// This file is the only place where a plugin's code is imported.
type bundled struct {
	serve func()
	// codes are those of the plugin's own.
	codes diag.Words
	// lazy is how servers of the target ask the bridge for the check of a password; the
	// zero value where they do not.
	lazy bridge.LazyContract
	// assets are files that the target's own servers need, by file name.
	assets map[string]asset
}

type asset struct {
	content []byte
	// purpose says what to do with the file.
	purpose string
}

func bundledPlugins() map[string]bundled {
	return map[string]bundled{
		"generic-scim": {serve: func() { sdk.Serve(scim.Plugin()) }, codes: scim.Plugin().Codes},
		"generic-sql":  {serve: func() { sdk.Serve(sqltarget.Plugin()) }, codes: sqltarget.Plugin().Codes},
		"auth0": {
			serve: func() { sdk.Serve(auth0.Plugin()) },
			codes: auth0.Plugin().Codes,
			// The scripts of a custom database.
			lazy: bridge.LazyContract{Name: "auth0", Form: bridge.UserInBody, OwnPrefix: auth0.IDPrefix},
		},
		"keycloak": {
			serve: func() { sdk.Serve(keycloak.Plugin()) },
			codes: keycloak.Plugin().Codes,
			// The REST contract of the user-migration providers.
			lazy: bridge.LazyContract{Name: "keycloak", Form: bridge.UserInPath, Holds: keycloak.HoldsID},
			assets: map[string]asset{
				provider.FileName: {content: provider.Jar(), purpose: "copy it into the providers/ folder of every Keycloak server, then restart (servers started with --optimized: run kc.sh build first)"},
			},
		},
	}
}

// lazyContracts are those of the bundled plugins' targets.
func lazyContracts() []bridge.LazyContract {
	var all []bridge.LazyContract
	for _, name := range bundledNames() {
		if c := bundledPlugins()[name].lazy; c.Name != "" {
			all = append(all, c)
		}
	}
	return all
}

func bundledNames() []string { return slices.Sorted(maps.Keys(bundledPlugins())) }
