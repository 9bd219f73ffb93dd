// Package examples holds the plugins that "stetl plugin new" starts projects from.
package examples

import "embed"

// Rest is the folder rest: a complete target with a REST API, its tests, and the made-up
// identity provider that they run against.
//
//go:embed rest
var Rest embed.FS

// Others are the folders python and node: in each the package that any plugin in that
// language needs, a complete target, and what installs both.
//
//go:embed all:python/stetl_plugin python/pyproject.toml python/ndjson_target.py python/install.sh
//go:embed node/stetl-plugin node/target.js node/install.sh
var Others embed.FS
