package main

import (
	"maps"
	"slices"

	"github.com/stetl/stetl/core/sdk"
	"github.com/stetl/stetl/plugins/auth0"
	scim "github.com/stetl/stetl/plugins/generic-scim"
	"github.com/stetl/stetl/plugins/keycloak"
	"github.com/stetl/stetl/plugins/keycloak/provider"
)

// bundled is a plugin that this executable serves itself, in a child process.
// This file is the only place where a plugin's code is imported.
type bundled struct {
	serve func()
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
		"generic-scim": {serve: func() { sdk.Serve(scim.Plugin()) }},
		"auth0":        {serve: func() { sdk.Serve(auth0.Plugin()) }},
		"keycloak": {
			serve: func() { sdk.Serve(keycloak.Plugin()) },
			assets: map[string]asset{
				provider.FileName: {content: provider.Jar(), purpose: "copy it into the providers/ folder of every Keycloak server, then restart (servers started with --optimized: run kc.sh build first)"},
			},
		},
	}
}

func bundledNames() []string { return slices.Sorted(maps.Keys(bundledPlugins())) }
