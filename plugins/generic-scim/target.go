package scim

import (
	"github.com/stetl/stetl/core/sdk"
)

// What a configuration may turn into, and what each of them can do.
var (
	_ interface {
		sdk.Target
		sdk.Capable
		sdk.Checker
		sdk.SignInReporter
		sdk.Planner
		sdk.Finisher
		sdk.Closer
	} = (*files)(nil)
	_ interface {
		sdk.Target
		sdk.Capable
		sdk.Limited
		sdk.Checker
		sdk.SignInReporter
		sdk.Mailer
		sdk.Planner
		sdk.DoubtUndoer
		sdk.Tidier
		sdk.Authenticator
		sdk.Closer
	} = (*live)(nil)
)

func newTarget(c Config, env sdk.Env) (sdk.Target, error) {
	c = c.withDefaults()
	if err := c.validate().Err(); err != nil {
		return nil, err
	}
	if p, ok := readPreset(c.Preset); ok && p.Refuse != "" && c.Mode == modeLive {
		return nil, sdk.Diagnostics{{Code: sdk.CodeInvalidValue, Path: "/preset", Summary: "this provider is no target for SCIM", Detail: p.Refuse, Hint: "use mode files, or the provider's own tools"}}.Err()
	}
	if c.Mode == modeFiles {
		return newFiles(c), nil
	}
	return newLive(c, env)
}

// passwordNotes tells the operator once more what they have stated.
func passwordNotes(c Config) (l sdk.Diagnostics) {
	if c.Password.HashesAccepted {
		l.Add(sdk.Diagnostic{
			Severity: sdk.Warning, Code: codePasswordsAsHashes, Path: "/password",
			Summary: "password hashes will be sent in the attribute password, because the configuration states that this provider takes them",
			Detail:  "a provider that does not take them would store the hash as if it were the password: nobody could sign in, but whoever has the hash could",
			Hint:    "sign in with a migrated test account before you move everybody; check_token_url lets stetl do so",
		})
	}
	return l
}
