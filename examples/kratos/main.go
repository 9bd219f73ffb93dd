// Command stetl-plugin-kratos is a target plugin of stetl: it moves users into Ory Kratos.
// docs/kratos.md walks through it.
package main

import "github.com/stetl/stetl/core/sdk"

// version is set at build time.
var version = "0.1.0"

func main() { sdk.Serve(plugin()) }
