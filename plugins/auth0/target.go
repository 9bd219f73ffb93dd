package auth0

import (
	"github.com/stetl/stetl/core/sdk"
)

// What a configuration may turn into, and what each of them can do.
var (
	_ interface {
		sdk.Target
		sdk.Capable
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
	if c.Mode != modeFiles {
		return nil, sdk.Diagnostics{{Code: codeInvalidValue, Path: "/mode", Summary: "this build writes files only", Hint: "set mode: files"}}.Err()
	}
	return newFiles(c), nil
}

// Codes of outcomes and diagnostics; core/diag explains each.
const (
	codeInvalidValue sdk.Code = "config.invalid_value"
	codeMissingField sdk.Code = "config.missing_field"

	codeIDTooLong        sdk.Code = "load.id_too_long"
	codeIDInvalid        sdk.Code = "load.id_invalid"
	codeIDConflict       sdk.Code = "load.id_conflict"
	codeEmailConflict    sdk.Code = "load.email_conflict"
	codeUsernameConflict sdk.Code = "load.username_conflict"
	codeEmailMissing     sdk.Code = "load.email_missing"
	codeEmailInvalid     sdk.Code = "load.email_invalid"
	codeFieldTooLong     sdk.Code = "load.field_too_long"
	codeTOTPInvalid      sdk.Code = "load.totp_invalid"
	codeUserTooLarge     sdk.Code = "load.user_too_large"
	codeTargetRefused    sdk.Code = "load.target_refused"

	codeSocialDeferred       sdk.Code = "auth0.social_deferred"
	codePasswordlessDeferred sdk.Code = "auth0.passwordless_deferred"
	codeHashDeferred         sdk.Code = "auth0.hash_deferred"
	codeOutUnwritable        sdk.Code = "auth0.out_unwritable"
	codeOutForeignFiles      sdk.Code = "auth0.out_foreign_files"
)
