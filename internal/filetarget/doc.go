// Package filetarget is an identity provider for tests: every account is a file in
// a folder, so that it outlives whoever is killed. It gives its own ids and sees to
// no uniqueness unless asked to look, so that an account that is sent twice is
// there twice. A log beside the accounts names every request.
package filetarget
