package keycloak

import (
	"github.com/stetl/stetl/core/sdk"
)

// What a configuration may turn into, and what each of them can do.
var (
	_ interface {
		sdk.Target
		sdk.Capable
		sdk.Checker
		sdk.Mailer
		sdk.Fixer
		sdk.Planner
		sdk.Undoer
		sdk.Authenticator
		sdk.PasswordSetter
		sdk.ResetStarter
		sdk.SessionExchanger
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
	codeUsernameMissing  sdk.Code = "load.username_missing"
	codeUsernameConflict sdk.Code = "load.username_conflict"
	codeEmailConflict    sdk.Code = "load.email_conflict"
	codeIdentityConflict sdk.Code = "load.identity_conflict"
	codeExistsDiffers    sdk.Code = "load.exists_differs"
	codeFieldTooLong     sdk.Code = "load.field_too_long"
	codeHashUnsupported  sdk.Code = "load.hash_unsupported"
	codeTOTPInvalid      sdk.Code = "load.totp_invalid"
	codeUserTooLarge     sdk.Code = "load.user_too_large"
	codeTargetRefused    sdk.Code = "load.target_refused"
	codeUnknownAnswer    sdk.Code = "load.unknown_answer"
	codeMoved            sdk.Code = "load.moved"
	codeNoSuchAccount    sdk.Code = "target.no_such_account"
	codePasswordRefused  sdk.Code = "target.password_refused"
	codeLoginUnavailable sdk.Code = "target.login_unavailable"

	codeUnreachable      sdk.Code = "keycloak.unreachable"
	codeLoginRefused     sdk.Code = "keycloak.login_refused"
	codeRealmMissing     sdk.Code = "keycloak.realm_missing"
	codeRoleMissing      sdk.Code = "keycloak.role_missing"
	codeTooOld           sdk.Code = "keycloak.too_old"
	codeIDsNotKept       sdk.Code = "keycloak.ids_not_kept"
	codeBcryptMissing    sdk.Code = "keycloak.bcrypt_provider_missing"
	codeArgon2Missing    sdk.Code = "keycloak.argon2_missing"
	codePolicyAlgorithm  sdk.Code = "keycloak.policy_algorithm_missing"
	codePasswordExpiry   sdk.Code = "keycloak.password_expiry"
	codeProfileRequired  sdk.Code = "keycloak.profile_required"
	codeAttributesHidden sdk.Code = "keycloak.attributes_hidden"
	codeProviderMissing  sdk.Code = "keycloak.identity_provider_missing"
	codePlainHTTP        sdk.Code = "keycloak.plain_http"
	codeMasterRealm      sdk.Code = "keycloak.master_realm"
	codeCheckIncomplete  sdk.Code = "keycloak.check_incomplete"
	codeOutUnwritable    sdk.Code = "keycloak.out_unwritable"
	codeOutForeignFiles  sdk.Code = "keycloak.out_foreign_files"
	codeRealmFileKept    sdk.Code = "keycloak.realm_file_kept"
	codeHeapSmall        sdk.Code = "keycloak.heap_small"
	codePermanentLockout sdk.Code = "keycloak.permanent_lockout"
	codeEmailLoginOff    sdk.Code = "keycloak.email_login_off"
	codeDuplicateEmails  sdk.Code = "keycloak.duplicate_emails"
	codeOtherTenant      sdk.Code = "load.other_tenant"
	codeOrganizationsOff sdk.Code = "keycloak.organizations_off"
	codeFederationDown   sdk.Code = "keycloak.federation_unreachable"
	codeNotFixed         sdk.Code = "keycloak.not_fixed"
)

// verdict is what is to become of one user. Created means: send it.
type verdict struct {
	outcome sdk.Outcome
	fields  []sdk.FieldChange
	held    *detail         // of an account that may be updated
	unsure  bool            // an earlier run has sent the user and does not know the answer
	replace bool            // the source has other credentials than were last sent
	user    *representation // nil when mapping rejected the user
}

func (v verdict) change() sdk.Change {
	return sdk.Change{Outcome: v.outcome, Fields: v.fields}
}
