// Package examples holds the plugin that "stetl plugin new" starts a project from.
package examples

import "embed"

// Rest is the folder rest: a complete target with a REST API, its tests, and the made-up
// identity provider that they run against.
//
//go:embed rest
var Rest embed.FS
