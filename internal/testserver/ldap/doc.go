// Package ldap starts a real LDAP server, UnboundID's in-memory directory, for tests
// of what asks one.
package ldap
