// Package keycloak is the target plugin for Keycloak 26. It keeps user ids and password hashes, so that old passwords
// go on working.
//
// Mode live loads a running server through endpoints that our provider adds to it,
// or through partialImport, the one online endpoint of the server's own that takes
// id, hashes, roles and identities in one call. Both only create: an account that is
// there is compared, and brought up to date, where that is allowed, with one request
// for each kind of change. Mode files writes a folder for kc.sh import.
//
// What Keycloak has no field for becomes a user attribute:
//
//	phoneNumber, phoneNumberVerified   phone
//	otherEmails                        addresses of linked logins
//	otherIdentities                    second identities of one provider, as alias:subject
//	metadata.KEY                       top-level keys of the metadata
//
// A metadata string becomes the attribute's value, an array of scalars several
// values, everything else its JSON text. The prefix keeps a key such as "email"
// from overwriting a field of the account. Roles are the union over all tenants,
// because a realm has no tenants; tenants become groups below /tenants when a
// user belongs to any but "public", or organizations. The default role and the default groups of the
// realm are added as for any new user.
package keycloak
