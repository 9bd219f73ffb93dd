// Package scim is the target plugin generic-scim, for any provider that speaks
// SCIM 2.0 (RFC 7643, RFC 7644), also where it does so in its own way.
//
// Nothing that a server says about itself, and nothing that it answers, is
// believed unseen: what it can do is probed before the first write, every account
// that a search returns is compared with what was searched for, results of a bulk
// request are joined by bulkId, and an answer that is missing or unclear is looked
// up. The id that applications have stored becomes externalId, which is how an
// account is found again; the server gives ids of its own.
//
// SCIM has no place for a password hash. One in the attribute password would be
// taken for the password itself, so none is sent unless the operator states that
// this provider takes hashes. Without that, accounts need a reset.
//
// What the core schema cannot hold goes into an extension (see [DefaultExtension])
// where the server declares it. What the server does not keep is found by reading
// back, and said.
//
// Mode files writes the same users as Bulk requests and as one user a line.
package scim
