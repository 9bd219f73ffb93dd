// Package provider holds the Keycloak extension that verifies bcrypt hashes, and
// takes and shows many accounts at a time: its Java sources, and the jar they build, ready to be handed out.
//
// Keycloak itself knows no bcrypt. Users load without complaint all the same,
// and then none of their passwords is accepted; so the jar has to be in the
// server's providers folder before the first user logs in. It serves Keycloak 25
// and 26 on Java 17 and later, brings no library along, and is never the
// server's choice for new passwords: at the first login Keycloak replaces the
// bcrypt hash by one of its own algorithm. Its endpoints below
// /admin/realms/REALM/stetl are there on Keycloak 26 and later.
//
// The jar is the same, byte for byte, for every JDK from 17 on. After a change
// to the sources, run build.sh and commit the result; a test compares them.
package provider

import _ "embed"

//go:generate sh build.sh

// FileName is the name under which the jar goes into Keycloak's providers
// folder. Keycloak attaches no meaning to it.
const FileName = "stetl-keycloak-bcrypt.jar"

// ID names the algorithm in a credential (credentialData.algorithm) and the
// provider in the server's information.
const ID = "bcrypt"

//go:embed stetl-keycloak-bcrypt.jar
var jar []byte

// Jar returns the extension. The caller must not change the bytes.
func Jar() []byte { return jar }
