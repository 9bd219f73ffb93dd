// Package pluginapi holds the vocabulary shared by the engine, the plugin host
// and plugin authors: the desired [User], what a target can carry
// ([Capabilities]), what would happen ([Change]) and what happened ([Outcome]).
//
// It is data only: no I/O, no knowledge of any provider or of SuperTokens.
package pluginapi
