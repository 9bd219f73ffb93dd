// Package keycloak is the target plugin for Keycloak 23 and later (25 for
// argon2 hashes). It keeps user ids and password hashes, so that old passwords
// go on working.
//
// Mode live loads a running server through endpoints that our provider adds to it,
// or through partialImport, the one online endpoint of the server's own that takes
// id, hashes, roles and identities in one call. Neither does more than create: an
// account that is already there is compared, never changed. The comparison covers
// names, e-mail address, flags and attributes, as far as reads
// show them; roles, groups, links and credentials are not in a listing. Mode files
// writes a folder for kc.sh import.
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
// user belongs to any but "public". The default role and the default groups of the
// realm are added as for any new user.
package keycloak
