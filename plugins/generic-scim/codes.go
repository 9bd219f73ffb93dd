package scim

import "github.com/stetl/stetl/core/sdk"

// Codes of this plugin's own; those that all plugins share are in the SDK.
const (
	codeUnreachable         sdk.Code = "scim.unreachable"
	codeUntrusted           sdk.Code = "scim.untrusted"
	codeClientRefused       sdk.Code = "scim.client_refused"
	codeLoginRefused        sdk.Code = "scim.login_refused"
	codeNotSCIM             sdk.Code = "scim.not_scim"
	codeExtensionUndeclared sdk.Code = "scim.extension_undeclared"
	codeExtensionRequired   sdk.Code = "scim.extension_required"
	codeAttributeUndeclared sdk.Code = "scim.attribute_undeclared"
	codeAttributeRequired   sdk.Code = "scim.attribute_required"
	codeLookupImpossible    sdk.Code = "scim.lookup_impossible"
	codeGroupsMissing       sdk.Code = "scim.groups_missing"
	codePasswordUndeclared  sdk.Code = "scim.password_undeclared"
	codePasswordsAsHashes   sdk.Code = "scim.passwords_as_hashes"
	codeProviderNote        sdk.Code = "scim.provider_note"
	codeGroupsThere         sdk.Code = "scim.groups_there"
	codeSeats               sdk.Code = "scim.seats"
	codeOutUnwritable       sdk.Code = "scim.out_unwritable"
	codeOutForeignFiles     sdk.Code = "scim.out_foreign_files"
)

// ownCodes says what they mean.
var ownCodes = []sdk.CodeInfo{
	{Code: codeUnreachable, Meaning: "the server cannot be reached", Remedy: "check the url, the network and the certificate"},
	{Code: codeUntrusted, Meaning: "the server's certificate is not trusted", Remedy: "name the authority that issued it in tls.ca_file, or correct the url", Permanent: true},
	{Code: codeClientRefused, Meaning: "the server refuses the connection without a client certificate that it accepts", Remedy: "set tls.cert_file and tls.key_file to a valid certificate of an authority that the server trusts", Permanent: true},
	{Code: codeLoginRefused, Meaning: "the server refuses the credentials", Remedy: "check auth; the account must be allowed to manage users", Permanent: true},
	{Code: codeNotSCIM, Meaning: "the address does not answer as SCIM 2.0 does", Remedy: "check the url, with the version in its path where the provider has one", Permanent: true},
	{Code: codeExtensionUndeclared, Meaning: "the server does not declare stetl's extension, so what only fits there stays behind", Remedy: "register docs/scim-extension.schema.json with the provider, or accept the loss", Permanent: true},
	{Code: codeExtensionRequired, Meaning: "the server demands a schema extension in every user", Remedy: "fill it with attributes and constants", Permanent: true},
	{Code: codeAttributeUndeclared, Meaning: "the server does not declare an attribute that would be sent", Remedy: "accept the loss, or have the provider extend its schema", Permanent: true},
	{Code: codeAttributeRequired, Meaning: "the server demands an attribute that users lack", Remedy: "fill it with attributes, constants or name_fallback", Permanent: true},
	{Code: codeLookupImpossible, Meaning: "accounts can neither be searched for nor listed, so that nobody could tell who is there", Remedy: "ask the provider which filter works and set lookup", Permanent: true},
	{Code: codeGroupsMissing, Meaning: "the server has no groups, so roles stay behind", Remedy: "set roles to roles, entitlements or none", Permanent: true},
	{Code: codePasswordUndeclared, Meaning: "hashes are to be sent and the server declares no attribute password", Remedy: "remove password from the configuration", Permanent: true},
	{Code: codePasswordsAsHashes, Meaning: "hashes will be sent as the configuration states", Remedy: "sign in with a migrated test account first", Permanent: true},
	{Code: codeProviderNote, Meaning: "what is known of this provider", Remedy: "read it", Permanent: true},
	{Code: codeGroupsThere, Meaning: "a group that no run has made has the name of a role or a tenant: users do not get into it by that name alone", Remedy: "see at the provider what it allows, and accept it by name in accept_groups, or rename it", Permanent: true},
	{Code: codeSeats, Meaning: "the provider takes no more accounts: its plan or licence has no seats left", Remedy: "buy seats or remove accounts, then run again: it goes on where it stopped"},
	{Code: codeOutUnwritable, Meaning: "the output folder cannot be written", Remedy: "name a folder that can be created or written, on a disk with free space"},
	{Code: codeOutForeignFiles, Meaning: "the output folder has users that stetl did not write", Remedy: "move them away or choose another folder"},
}
