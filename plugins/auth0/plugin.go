package auth0

import (
	"context"

	"github.com/stetl/stetl/core/sdk"
)

// Plugin describes the Auth0 target.
func Plugin() sdk.Plugin[Config] {
	return sdk.Plugin[Config]{
		Name:         "auth0",
		Version:      "1",
		Capabilities: capabilities(Config{}.withDefaults()),
		Codes:        ownCodes,
		New: func(_ context.Context, c Config, env sdk.Env) (sdk.Target, error) {
			return newTarget(c, env)
		},
	}
}

// A job takes some 1,250 users, and two of them run while a third is packed. So many
// users have to be at hand that every job but the last is full.
const (
	batchUsers    = 500
	batchInFlight = 16
)

// capabilities is what Auth0 can hold. Details of hashes that no list can express
// are checked in translate.
func capabilities(c Config) sdk.Capabilities {
	batch := sdk.BatchLimits{Users: batchUsers, Bytes: 4 << 20, InFlight: batchInFlight}
	if c.Mode == modeFiles {
		batch.InFlight = 1 // one file at a time, in the order of the source
	}
	var abilities []sdk.Ability
	if c.Mode != modeFiles {
		abilities = append(abilities, sdk.CanDisable)
	}
	carries := []sdk.Feature{
		sdk.CarriesID, sdk.CarriesEmailVerified, sdk.CarriesPhone, sdk.CarriesNames, sdk.CarriesCreated,
		sdk.CarriesIdentities, sdk.CarriesTOTP, sdk.CarriesRoles, sdk.CarriesTenants, sdk.CarriesMetadata,
	}
	if c.keepsPermissions() {
		carries = append(carries, sdk.CarriesRolePermissions)
	}
	return sdk.Capabilities{
		Abilities: abilities,
		Hashes: []sdk.HashSupport{
			{Scheme: sdk.Bcrypt},
			{Scheme: sdk.Argon2id, MaxMemoryKiB: maxArgonMemory},
			{Scheme: sdk.Argon2i, MaxMemoryKiB: maxArgonMemory},
		},
		Carries:     carries,
		Batch:       batch,
		MaxIDLength: maxID,
		UniqueEmail: true,
		// An identity is one user of a tenant, and can be linked to one other.
		UniqueIdentities: true,
		// Names and addresses are stored in lower case. Whether ids are is not documented,
		// so that two of them are not told apart by case alone.
		FoldsCase: map[sdk.Identifier]bool{sdk.IdentifierID: true, sdk.IdentifierUsername: true, sdk.IdentifierEmail: true},
		SignIns: []sdk.SignIn{
			{Way: sdk.SignInPassword},
			{Way: sdk.SignInSocial},
			{Way: sdk.SignInEmailCode},
			{Way: sdk.SignInSMSCode},
			{Way: sdk.SignInPasskey},
			{Way: sdk.SignInEmailReset},
		},
		Whole: c.Mode == modeFiles,
		// A tenant behind a custom domain is named by its audience.
		Identity: []string{"mode=live", "host:audience|domain", "connection", "out"},
	}
}
