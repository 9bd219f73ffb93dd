// Package keycloak gives tests a real Keycloak server on the loopback
// interface.
//
// The distribution is fetched once into the test cache. For each set of
// provider jars and build options the server is built once, started once to
// create its database, and kept: later starts copy that small H2 file and share
// the rest, which is a quarter of the work of starting on an empty database.
// Servers end with their test, or with the test process, also when that is
// killed. One that tests share ([Shared]) serves all packages of a run, and ends
// with it.
package keycloak
