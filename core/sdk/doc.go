// Package sdk is what a target plugin imports, and all it imports, beside httpx
// for requests and folder for files below it. A plugin is a main package that
// calls [Serve] with a [Plugin]; the only method it must have is [Target].Load.
//
//	func main() {
//		sdk.Serve(sdk.Plugin[Config]{Name: "acme", Version: version, New: open})
//	}
//
// The package owns everything around that method: the process, the gRPC
// stream, stdout, signals, a vanished host, panics, and the promise that every
// user of a batch gets exactly one outcome.
//
// Three habits to know. What a plugin writes to stdout or stderr ends up in the
// log of stetl, so nothing needs redirecting. SIGINT and SIGTERM are ignored,
// because the host decides when a run stops; contexts are how a plugin hears of
// it. And the types of secrets do not print: call Reveal where the clear text
// goes into a request, and nowhere else.
package sdk
