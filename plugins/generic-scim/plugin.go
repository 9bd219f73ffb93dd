package scim

import (
	"context"

	"github.com/stetl/stetl/core/sdk"
)

// Plugin describes the SCIM target.
func Plugin() sdk.Plugin[Config] {
	return sdk.Plugin[Config]{
		Name:         "generic-scim",
		Version:      "1",
		Capabilities: capabilities(Config{}.withDefaults()),
		Codes:        ownCodes,
		New: func(_ context.Context, c Config, env sdk.Env) (sdk.Target, error) {
			return newTarget(c, env)
		},
	}
}

// capabilities is what SCIM can hold under this configuration. Whether a server
// has the extension is a question for Check: it takes a request. Ids are not carried:
// externalId has the one that applications know, and the server gives another.
func capabilities(c Config) sdk.Capabilities {
	carries := []sdk.Feature{sdk.CarriesPhone, sdk.CarriesNames}
	if c.Extension.Use != never {
		carries = append(carries, sdk.CarriesEmailVerified, sdk.CarriesCreated, sdk.CarriesIdentities, sdk.CarriesMetadata)
	}
	if c.Emails == "verified" && c.Extension.Use == never {
		carries = append(carries, sdk.CarriesEmailVerified) // no other address is sent
	}
	if len(c.Attributes) > 0 && c.Extension.Use == never {
		carries = append(carries, sdk.CarriesMetadata)
	}
	if c.Roles != none {
		carries = append(carries, sdk.CarriesRoles)
	}
	if c.Tenants != none && (c.Extension.Use != never || c.Tenants == asGroups) {
		carries = append(carries, sdk.CarriesTenants)
	}
	batch := sdk.BatchLimits{Users: loadBatch, InFlight: 4}
	if c.Mode == modeFiles {
		batch.InFlight = 1 // one file at a time, in the order of the source
	}
	var hashes []sdk.HashSupport
	if c.Password.HashesAccepted {
		for scheme := range c.Password.Templates {
			hashes = append(hashes, sdk.HashSupport{Scheme: sdk.Scheme(scheme)})
		}
	}
	var abilities []sdk.Ability
	if c.Mode != modeFiles {
		abilities = append(abilities, sdk.CanDisable)
	}
	return sdk.Capabilities{
		Abilities: abilities,
		Hashes:    hashes, Carries: carries, Batch: batch, SignIns: signIns(c),
		Whole: c.Mode == modeFiles,
		// As in RFC 7643: userName and addresses are not caseExact, externalId is.
		FoldsCase: map[sdk.Identifier]bool{sdk.IdentifierID: false, sdk.IdentifierUsername: true, sdk.IdentifierEmail: true},
		Identity:  []string{"mode", "url", "out"},
	}
}

// loadBatch is how many users the host sends at a time. Requests are cut from
// that by size of their own.
const loadBatch = 400
