// Package auth0 is the target plugin for Auth0. It brings users into one database
// connection through the bulk import job, the only door for password hashes.
//
// Mode live loads a tenant: it packs users into jobs by their exact encoded
// bytes, keeps at most two jobs running, writes a job's id down before anything
// else, and joins a job's errors back to users. Mode files writes the same import
// files into a folder, with a script that uploads them.
//
// A user keeps its id: auth0|ID is the subject that applications see. What Auth0
// has no field for is kept in app_metadata under the one key "supertokens", which is
// also how a later run knows an account as its own:
//
//	id, joined             the id and the time of sign-up
//	phone, other_emails    contacts beside the e-mail address
//	identities             third-party identities, for linking them later
//	tenants, roles         as SuperTokens has them
//	metadata               the application's metadata
//
// Users who have no password in SuperTokens cannot be created by the job. They are
// deferred: counted as skipped and listed in a side file.
package auth0
