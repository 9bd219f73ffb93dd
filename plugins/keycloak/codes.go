package keycloak

import "github.com/stetl/stetl/core/sdk"

// Codes of this plugin's own; those that all plugins share are in the SDK.
const (
	codeUnreachable      sdk.Code = "keycloak.unreachable"
	codeLoginRefused     sdk.Code = "keycloak.login_refused"
	codeRealmMissing     sdk.Code = "keycloak.realm_missing"
	codeRoleMissing      sdk.Code = "keycloak.role_missing"
	codeTooOld           sdk.Code = "keycloak.too_old"
	codeUntested         sdk.Code = "keycloak.untested_version"
	codeNoKeycloak       sdk.Code = "keycloak.wrong_path"
	codeIDsNotKept       sdk.Code = "keycloak.ids_not_kept"
	codeBcryptMissing    sdk.Code = "keycloak.bcrypt_provider_missing"
	codeArgon2Missing    sdk.Code = "keycloak.argon2_missing"
	codePolicyAlgorithm  sdk.Code = "keycloak.policy_algorithm_missing"
	codePasswordExpiry   sdk.Code = "keycloak.password_expiry"
	codeProfileRequired  sdk.Code = "keycloak.profile_required"
	codeAttributesHidden sdk.Code = "keycloak.attributes_hidden"
	codeAttributesFixed  sdk.Code = "keycloak.attributes_fixed"
	codeProfileRefused   sdk.Code = "keycloak.profile_refused"
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
	codeOrganizationsOff sdk.Code = "keycloak.organizations_off"
	codeFederationDown   sdk.Code = "keycloak.federation_unreachable"
	codeNotFixed         sdk.Code = "keycloak.not_fixed"
	codeUnfixed          sdk.Code = "keycloak.fix_undone"
	codeHTTPSRequired    sdk.Code = "keycloak.https_required"
	codeRealmDisabled    sdk.Code = "keycloak.realm_disabled"
	codeOldProvider      sdk.Code = "keycloak.old_provider"
	codePower            sdk.Code = "keycloak.power"
	codeRolePermissions  sdk.Code = "keycloak.role_permissions"
	codeUsernamesFixed   sdk.Code = "keycloak.usernames_fixed"
	codeBridgeDiffers    sdk.Code = "keycloak.bridge_differs"
	codeSetupDiffers     sdk.Code = "keycloak.setup_differs"
	codeNotSetUp         sdk.Code = "keycloak.not_set_up"
	codeRealmToMake      sdk.Code = "keycloak.realm_to_make"
	codeTemplate         sdk.Code = "keycloak.template"
)

// ownCodes says what they mean.
var ownCodes = []sdk.CodeInfo{
	{Code: codeRealmToMake, Meaning: "the realm does not exist, and a run makes it from the template (create: true)", Remedy: "nothing, if that is what you want"},
	{Code: codeTemplate, Meaning: "the template cannot be used as it is for a new realm", Remedy: "correct what the message names in the template realm, or make the realm yourself"},
	{Code: codeUnreachable, Meaning: "the server cannot be reached, or is not a Keycloak", Remedy: "check the url, the network and the certificate"},
	{Code: codeLoginRefused, Meaning: "the server refuses the client", Remedy: "check client_id, client_secret and auth_realm, and that service accounts are switched on", Permanent: true},
	{Code: codeRealmMissing, Meaning: "the server has no such realm", Remedy: "create it or correct the name", Permanent: true},
	{Code: codeRoleMissing, Meaning: "the client may not do what a load needs", Remedy: "give its service account manage-realm, manage-users, view-users and view-clients of realm-management", Permanent: true},
	{Code: codeTooOld, Meaning: "the server is older than 23 and would give every user a new id", Remedy: "upgrade the server", Permanent: true},
	{Code: codeUntested, Meaning: "the server is older than those that stetl is tested with", Remedy: "upgrade the server, or try it with a copy of the realm", Permanent: true},
	{Code: codeNoKeycloak, Meaning: "the server has no Keycloak at this path", Remedy: "check the end of the url: servers before 17, and servers with http-relative-path, need /auth there; others must not have it"},
	{Code: codeIDsNotKept, Meaning: "the server created a user under another id", Remedy: "use Keycloak 23 or later, delete the users with wrong ids and run again", Path: "/id", Permanent: true},
	{Code: codeBcryptMissing, Meaning: "the server has no password hashing provider called bcrypt", Remedy: "install the jar that stetl plugin assets keycloak writes", Permanent: true},
	{Code: codeArgon2Missing, Meaning: "the server has no password hashing provider called argon2", Remedy: "upgrade the server to 25 or later", Permanent: true},
	{Code: codePolicyAlgorithm, Meaning: "the realm's password policy names a hashing algorithm that the server lacks", Remedy: "install that provider or choose another algorithm", Permanent: true},
	{Code: codePasswordExpiry, Meaning: "the realm's password policy expires passwords", Remedy: "lift the policy until the users have moved", Permanent: true},
	{Code: codeProfileRequired, Meaning: "the realm's user profile requires fields that users may lack", Remedy: "make them optional, or disable the required action Verify Profile", Permanent: true},
	{Code: codeAttributesHidden, Meaning: "the realm hides attributes that its user profile does not declare", Remedy: "let administrators write unmanaged attributes", Permanent: true},
	{Code: codeAttributesFixed, Meaning: "administrators may not change attributes that a load writes", Remedy: "let administrators edit them in the user profile, or unmanaged attributes", Permanent: true},
	{Code: codeProfileRefused, Meaning: "the realm's user profile refuses a value of the user", Remedy: "correct the value in SuperTokens or the user profile, or set refused_values: leave_out", Permanent: true},
	{Code: codeProviderMissing, Meaning: "the realm lacks an identity provider that users are linked to", Remedy: "add it to the realm, or name its alias in identity_providers", Permanent: true},
	{Code: codePlainHTTP, Meaning: "hashes and the client secret would cross the network in clear text", Remedy: "use the https address of the server", Permanent: true},
	{Code: codeMasterRealm, Meaning: "users would be loaded into the realm of the server's administrators", Remedy: "create another realm for them, or set accept_master", Permanent: true},
	{Code: codeCheckIncomplete, Meaning: "a part of the preflight could not be read", Remedy: "give the service account realm-admin, or check it yourself"},
	{Code: codeOutUnwritable, Meaning: "the output folder cannot be written", Remedy: "name a folder that can be created or written, on a disk with free space"},
	{Code: codeOutForeignFiles, Meaning: "the output folder has users that stetl did not write", Remedy: "move them away or choose another folder"},
	{Code: codeRealmFileKept, Meaning: "the output folder has a realm file that stetl did not write", Remedy: "remove it, and stetl writes one that fits", Permanent: true},
	{Code: codeHeapSmall, Meaning: "the server's heap is small for sign-ins with argon2 hashes of SuperTokens", Remedy: "raise JAVA_OPTS_KC_HEAP, or lower the option cpu-cores of the provider argon2", Permanent: true},
	{Code: codePermanentLockout, Meaning: "the realm locks accounts permanently after wrong passwords", Remedy: "lock temporarily until the users have moved", Permanent: true},
	{Code: codeEmailLoginOff, Meaning: "the realm does not let people sign in with their e-mail address", Remedy: "switch on Login with email in the realm's settings", Permanent: true},
	{Code: codeDuplicateEmails, Meaning: "the realm lets several accounts have the same e-mail address", Remedy: "switch off Duplicate emails in the realm's settings, unless you need it", Permanent: true},
	{Code: codeOrganizationsOff, Meaning: "the realm has organizations switched off", Remedy: "run check --fix, or switch them on in the realm's settings", Permanent: true},
	{Code: codeFederationDown, Meaning: "the server cannot sign in to an LDAP server that the realm takes users from", Remedy: "repair the user federation, or disable it if its users should not count"},
	{Code: codeHTTPSRequired, Meaning: "the realm does not accept requests in clear text", Remedy: "use the https address of the server, or let it trust the headers of the proxy in front of it"},
	{Code: codeRealmDisabled, Meaning: "the realm is switched off", Remedy: "switch it on in its settings", Permanent: true},
	{Code: codeOldProvider, Meaning: "the server has an older jar than this version of stetl needs", Remedy: "replace it by the one that stetl plugin assets keycloak writes", Permanent: true},
	{Code: codePower, Meaning: "the realm has a role or group of this name, and it administers the realm or has other permissions", Remedy: "rename the one in the realm, or list it in accept_roles or accept_groups", Permanent: true},
	{Code: codeRolePermissions, Meaning: "a role of the realm has other permissions than in the source", Remedy: "set its attribute permissions by hand; if a run has made the role, the next run can do so"},
	{Code: codeUsernamesFixed, Meaning: "the realm does not allow changing user names, so an account keeps its old address as user name", Remedy: "run check --fix, or switch on Edit username in the realm's settings", Permanent: true},
	{Code: codeBridgeDiffers, Meaning: "the identity provider of the bridge has other settings than the bridge needs", Remedy: "set them as docs/bridge.md says", Permanent: true},
	{Code: codeSetupDiffers, Meaning: "something that check --fix would make exists already, with other settings", Remedy: "leave it if it is so on purpose, or change it as the message says", Permanent: true},
	{Code: codeNotSetUp, Meaning: "what the target needs could not be made", Remedy: "solve what the message names, and run check --fix with an administrator's token again: it makes what is missing"},
	{Code: codeUnfixed, Meaning: "a setting that check --fix had changed is as it was before", Remedy: "nothing"},
	{Code: codeNotFixed, Meaning: "a remedy of check --fix could not be applied", Remedy: "change by hand what check names"},
}
