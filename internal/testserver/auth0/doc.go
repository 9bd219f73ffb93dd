// Package auth0 is a model of the parts of Auth0 that a migration meets, as strict
// as its documentation: the import and export jobs, users, connections, roles,
// organizations, logs, rate limits and sign-ins that really verify hashes. It is a
// model, not verified against a tenant; whatever is unsure is a field of [Options],
// and README.md lists them.
package auth0
