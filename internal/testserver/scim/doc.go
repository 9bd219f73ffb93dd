// Package scim runs SCIM servers that others have written, for tests: SCIMMY on
// Node.js and scim2-server on Python. Their packages are installed by npm and pip
// into the cache of package testenv, once; where that cannot be done, the test is
// skipped by name.
package scim
