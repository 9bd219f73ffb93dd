// Package plugin finds, starts and supervises target plugins: child processes
// that speak the protocol of core/pluginpb.
//
// [Find] turns the name in a configuration into an executable, [Launch] starts
// it and yields a [Client]. The package owns the process and its surroundings;
// the conversation itself is core/internal/conversation.
//
// What a plugin gets: an environment of a few harmless variables, no input, a
// private socket with mutual TLS, its configuration in one call. What it does
// not get: the host's environment, terminal, signals, or the source database.
// Whatever a plugin does, its output cannot disturb the host, and its end
// leaves every user accounted for.
package plugin
