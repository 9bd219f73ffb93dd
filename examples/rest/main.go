// Command stetl-plugin-acme is a target plugin of stetl: it moves users into Acme, a
// made-up identity provider with a REST API.
package main

import "github.com/stetl/stetl/core/sdk"

// version is set at build time.
var version = "0.1.0"

func main() { sdk.Serve(plugin()) }
