package auth0

import "github.com/stetl/stetl/core/sdk"

// Codes of this plugin's own; those that all plugins share are in the SDK.
const (
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
	codeSocialDeferred        sdk.Code = "auth0.social_deferred"
	codePasswordlessDeferred  sdk.Code = "auth0.passwordless_deferred"
	codeHashDeferred          sdk.Code = "auth0.hash_deferred"
	codeDeferredUnwritable    sdk.Code = "auth0.deferred_unwritable"
	codePower                 sdk.Code = "auth0.power"
	codeOutUnwritable         sdk.Code = "auth0.out_unwritable"
	codeOutForeignFiles       sdk.Code = "auth0.out_foreign_files"
	codeNotSetUp              sdk.Code = "auth0.not_set_up"
	codeSetupDiffers          sdk.Code = "auth0.setup_differs"
	codeRolePermissions       sdk.Code = "auth0.role_permissions"
)

// ownCodes says what they mean.
var ownCodes = []sdk.CodeInfo{
	{Code: codeUnreachable, Meaning: "the tenant cannot be reached, or is not an Auth0 tenant", Remedy: "check domain, network and certificate"},
	{Code: codeLoginRefused, Meaning: "the tenant refuses the application", Remedy: "check client_id, client_secret and audience, and that the application is authorised for the Management API", Permanent: true},
	{Code: codeScopeMissing, Meaning: "the application lacks scopes of the Management API", Remedy: "grant the named scopes to the machine-to-machine application", Permanent: true},
	{Code: codeConnectionMissing, Meaning: "the tenant has no such connection", Remedy: "create it or correct the name", Permanent: true},
	{Code: codeConnectionUnusable, Meaning: "no import job can write into the connection", Remedy: "do what the message says", Permanent: true},
	{Code: codeConnectionIdentifiers, Meaning: "the connection does not take the identifiers that users would have", Remedy: "change the attributes of the connection, or the options of the plugin", Permanent: true},
	{Code: codeMembershipsKept, Meaning: "roles or tenants stay in app_metadata because the application may not assign them", Remedy: "grant the named scopes, or set roles or tenants to metadata", Permanent: true},
	{Code: codeEstimate, Meaning: "how long the run takes", Remedy: "plan for it"},
	{Code: codeNotSetUp, Meaning: "what the tenant needs was not created", Remedy: "look at the problem, and run check --fix with an administrator's token again: it creates what is missing"},
	{Code: codeSetupDiffers, Meaning: "something that check --fix would create exists, with other settings", Remedy: "it is left as it is; check whether that is intended"},
	{Code: codeRolePermissions, Meaning: "a role of the tenant has other permissions than in the source", Remedy: "change them by hand, or add the permissions to the API", Permanent: true},
	{Code: codeMFADisabled, Meaning: "authenticators move, but the tenant does not ask for one-time codes", Remedy: "switch the factor on before people sign in", Permanent: true},
	{Code: codeGhostUser, Meaning: "Auth0 says that the user exists, but does not show it", Remedy: "delete it by connection and e-mail address, then run again", Permanent: true},
	{Code: codePasswordKept, Meaning: "the password has changed in SuperTokens, and Auth0 does not take a new hash for this account", Remedy: "the user signs in with the old password or resets it", Path: "/password", Permanent: true},
	{Code: codeSocialDeferred, Meaning: "the user signs in through another provider; Auth0 creates it at the first sign-in", Remedy: "use the file of deferred accounts to restore the user's data", Path: "/identities", Permanent: true},
	{Code: codePasswordlessDeferred, Meaning: "the user has no password, and jobs create only users with passwords", Remedy: "set passwordless: create, or let Auth0 create the user at the first sign-in", Permanent: true},
	{Code: codeHashDeferred, Meaning: "Auth0 cannot verify the user's hash, and if the user were loaded without it, no later import could add a hash", Remedy: "migrate such users at their first sign-in, or set unsupported_hash: reset", Path: "/password", Permanent: true},
	{Code: codeDeferredUnwritable, Meaning: "the file of deferred accounts cannot be written", Remedy: "name a writable path in deferred"},
	{Code: codePower, Meaning: "the tenant has a role of this name, and it has permissions, of the Management API or others", Remedy: "rename the one in the tenant, or list it in accept_roles", Path: "/roles", Permanent: true},
	{Code: codeOutUnwritable, Meaning: "the output folder cannot be written", Remedy: "name a folder that can be created or written, on a disk with free space"},
	{Code: codeOutForeignFiles, Meaning: "the output folder has users that stetl did not write", Remedy: "move them away or choose another folder"},
}
