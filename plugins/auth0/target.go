package auth0

import (
	"github.com/stetl/stetl/core/sdk"
)

// What a configuration may turn into, and what each of them can do.
var (
	_ interface {
		sdk.Target
		sdk.Capable
		sdk.Limited
		sdk.Checker
		sdk.Planner
		sdk.Undoer
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

	codeExistsDiffers    sdk.Code = "load.exists_differs"
	codeHashUnsupported  sdk.Code = "load.hash_unsupported"
	codeUnknownAnswer    sdk.Code = "load.unknown_answer"
	codeMoved            sdk.Code = "load.moved"
	codeNoSuchAccount    sdk.Code = "target.no_such_account"
	codePasswordRefused  sdk.Code = "target.password_refused"
	codeLoginUnavailable sdk.Code = "target.login_unavailable"

	codeUnreachable           sdk.Code = "auth0.unreachable"
	codeLoginRefused          sdk.Code = "auth0.login_refused"
	codeScopeMissing          sdk.Code = "auth0.scope_missing"
	codeConnectionMissing     sdk.Code = "auth0.connection_missing"
	codeConnectionUnusable    sdk.Code = "auth0.connection_unusable"
	codeConnectionIdentifiers sdk.Code = "auth0.connection_identifiers"
	codeMembershipsKept       sdk.Code = "auth0.memberships_kept"
	codeEstimate              sdk.Code = "auth0.estimate"
	codeMFADisabled           sdk.Code = "auth0.mfa_disabled"
	codeGhostUser             sdk.Code = "auth0.ghost_user"
	codePasswordKept          sdk.Code = "auth0.password_kept"
	codeIncomplete            sdk.Code = "auth0.incomplete"
	codeDeferredUnwritable    sdk.Code = "auth0.deferred_unwritable"

	codeSocialDeferred       sdk.Code = "auth0.social_deferred"
	codePasswordlessDeferred sdk.Code = "auth0.passwordless_deferred"
	codeHashDeferred         sdk.Code = "auth0.hash_deferred"
	codeOutUnwritable        sdk.Code = "auth0.out_unwritable"
	codeOutForeignFiles      sdk.Code = "auth0.out_foreign_files"
)
