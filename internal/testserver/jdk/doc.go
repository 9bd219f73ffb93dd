// Package jdk finds Java installations and runs Maven, for tests that start or
// build Java programs.
package jdk
