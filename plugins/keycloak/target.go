package keycloak

import (
	"github.com/stetl/stetl/core/sdk"
)

// What a configuration may turn into, and what each of them can do.
var (
	_ interface {
		sdk.Target
		sdk.Capable
		sdk.RoleKeeper
		sdk.Checker
		sdk.Mailer
		sdk.FixUndoer
		sdk.Planner
		sdk.Undoer
		sdk.Tidier
		sdk.Authenticator
		sdk.PasswordSetter
		sdk.ResetStarter
		sdk.SessionExchanger
		sdk.Finisher
		sdk.Closer
	} = (*live)(nil)
	_ interface {
		sdk.Target
		sdk.Capable
		sdk.RoleKeeper
		sdk.Checker
		sdk.Planner
		sdk.Finisher
		sdk.Closer
	} = (*files)(nil)
)

func newTarget(c Config, env sdk.Env) (sdk.Target, error) {
	c = c.withDefaults()
	if err := c.validate().Err(); err != nil {
		return nil, err
	}
	if c.Mode == modeFiles {
		return newFiles(c), nil
	}
	return newLive(c, env)
}
