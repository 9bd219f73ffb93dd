// Package setup writes a first configuration: where SuperTokens is, as the files say that
// its core is deployed with, and what the plugin of a target proposes.
//
// What is secret is never written: a reference stands there, under the name that the
// value has already where it comes from.
package setup
