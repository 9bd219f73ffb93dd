package keycloak

import (
	"context"

	"github.com/stetl/stetl/core/sdk"
)

// Plugin describes the Keycloak target.
func Plugin() sdk.Plugin[Config] {
	return sdk.Plugin[Config]{
		Name:         "keycloak",
		Version:      "1",
		Capabilities: capabilities(Config{}.withDefaults()),
		Codes:        ownCodes,
		New: func(_ context.Context, c Config, env sdk.Env) (sdk.Target, error) {
			return newTarget(c, env)
		},
	}
}

// capabilities is what Keycloak can hold. Whether the server has the hash
// providers is a question for Check, which can explain what to install.
func capabilities(c Config) sdk.Capabilities {
	carries := []sdk.Feature{
		sdk.CarriesID, sdk.CarriesEmailVerified, sdk.CarriesPhone, sdk.CarriesNames,
		sdk.CarriesCreated, sdk.CarriesIdentities, sdk.CarriesTOTP, sdk.CarriesRoles, sdk.CarriesRolePermissions, sdk.CarriesMetadata,
	}
	if c.Tenants == tenantsAsGroups || c.Tenants == tenantsAsOrganizations || c.Tenant != "" {
		carries = append(carries, sdk.CarriesTenants)
	}
	batch := sdk.BatchLimits{Users: c.BatchSize, Bytes: maxBody, InFlight: c.Parallel}
	if c.Mode == modeLive {
		// What is read at a time is more than what is written at a time.
		batch.Users = max(batch.Users, bulkBatch)
	} else {
		batch.InFlight = 1 // one file at a time, in the order of the source
	}
	var abilities []sdk.Ability
	if c.Mode == modeLive {
		abilities = append(abilities, sdk.CanDisable)
	}
	return sdk.Capabilities{
		Abilities: abilities,
		Hashes: []sdk.HashSupport{
			{Scheme: sdk.Bcrypt}, // 2x as well: SuperTokens and our provider verify it as 2a
			{Scheme: sdk.Argon2id},
			{Scheme: sdk.Argon2i},
			{Scheme: sdk.Argon2d},
		},
		Carries:     carries,
		Batch:       batch,
		MaxIDLength: maxID,
		UniqueEmail: true,
		// The realm would link an identity to several accounts, and sign in to any of them.
		UniqueIdentities: true,
		FoldsCase:        map[sdk.Identifier]bool{sdk.IdentifierID: false, sdk.IdentifierUsername: true, sdk.IdentifierEmail: true},
		SignIns: []sdk.SignIn{
			{Way: sdk.SignInPassword}, {Way: sdk.SignInSocial}, {Way: sdk.SignInPasskey}, {Way: sdk.SignInEmailReset},
		},
		OnlyTenant: c.Tenant,
		Whole:      c.Mode == modeFiles,
		Identity:   []string{"mode", "url", "realm", "out"},
	}
}
