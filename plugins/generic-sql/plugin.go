package sqltarget

import (
	"context"
	"slices"

	"github.com/stetl/stetl/core/sdk"
)

// Plugin describes the target.
func Plugin() sdk.Plugin[Config] {
	return sdk.Plugin[Config]{
		Name:         "generic-sql",
		Version:      "1",
		Capabilities: sdk.Capabilities{Carries: []sdk.Feature{sdk.CarriesID}, Batch: batch, Identity: identity},
		Codes:        ownCodes,
		Propose:      propose,
		New: func(_ context.Context, c Config, env sdk.Env) (sdk.Target, error) {
			return newTarget(c, env)
		},
	}
}

// A batch is one transaction: large enough for its round trips not to count, small enough
// to be done in a second.
var (
	batch    = sdk.BatchLimits{Users: 1000, Bytes: 4 << 20, InFlight: 4}
	identity = []string{"mode=live", "name=default", "schema=public", "out"}
)

func newTarget(c Config, env sdk.Env) (sdk.Target, error) {
	c, problems := c.resolved()
	model, more := compile(c.Tables)
	problems = append(problems, more...)
	if err := problems.Err(); err != nil {
		return nil, err
	}
	if c.Mode == modeFiles {
		return newFiles(c, model), nil
	}
	s, err := c.server()
	if err != nil {
		return nil, sdk.Diagnostics{{Code: sdk.CodeInvalidValue, Path: "/url", Summary: err.Error()}}.Err()
	}
	return newLive(c, model, s, env), nil
}

// capabilities is what the declared tables can hold. It follows from the configuration
// alone; that the database is as the configuration says is for Check.
func capabilities(c Config, m *model) sdk.Capabilities {
	caps := sdk.Capabilities{
		Carries: m.features(), Batch: batch, Identity: identity,
		UniqueEmail:      slices.Contains(c.Unique, string(sdk.IdentifierEmail)),
		UniqueIdentities: slices.Contains(c.Unique, string(sdk.IdentifierIdentity)),
		NoUsernames:      !m.usernames(), MaxIDLength: c.IDLength,
		FoldsCase: map[sdk.Identifier]bool{},
	}
	for _, i := range []sdk.Identifier{sdk.IdentifierID, sdk.IdentifierUsername, sdk.IdentifierEmail, sdk.IdentifierPhone} {
		caps.FoldsCase[i] = slices.Contains(c.FoldsCase, string(i))
	}
	if c.Permissions.declared() {
		caps.Carries = append(caps.Carries, sdk.CarriesRolePermissions)
	}
	caps.SignIns, _ = signIns(&c, m)
	if caps.Whole = c.Mode == modeFiles; caps.Whole {
		caps.Batch.InFlight = 1 // one file, in the order of the source
	}
	if m.disables() && !caps.Whole {
		caps.Abilities = append(caps.Abilities, sdk.CanDisable)
	}
	if m.passwords() {
		for _, scheme := range c.Hashes {
			caps.Hashes = append(caps.Hashes, sdk.HashSupport{Scheme: sdk.Scheme(scheme)})
		}
	}
	return caps
}
