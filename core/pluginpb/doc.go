// Package pluginpb is the gRPC protocol between stetl and its target plugins.
//
// The files under proto/ are the contract, comments included; the Go code is
// generated from them and committed. Only the packages that convert
// (core/internal/wire) or speak (core/internal/conversation, core/sdk) the protocol
// import it: everybody else uses the types of core/pluginapi.
//
// String methods of the generated types print secrets. Nothing may log them.
package pluginpb
