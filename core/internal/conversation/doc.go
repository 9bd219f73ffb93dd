// Package conversation is the host's half of the plugin protocol, over any gRPC
// connection: core/plugin runs it against a child process, core/sdk/plugintest
// against a plugin in the same process.
//
// It owns what no plugin can be trusted with: the size of batches, the number
// in flight, and the promise that every user handed to [Session.Load] comes
// back with exactly one outcome. It knows nothing about processes.
package conversation
