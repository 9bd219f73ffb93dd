// Package bridge serves the cut-over: sessions and links that SuperTokens has
// given out go on working while people move to the target.
//
// A [Server] is an OpenID provider whose login is a valid SuperTokens session, so
// that a target that brokers to it starts a session of its own without asking
// anybody; an endpoint that turns a SuperTokens token into tokens of the target;
// the pages behind mailed links; and a check of passwords for targets that cannot
// verify a hash. It also publishes SuperTokens' public keys.
//
// Whatever must happen once is decided by the database (see
// [github.com/stetl/stetl/core/supertokens/cutover]); any number of servers may
// run over one. What the target has to do goes through a [Target], which is a
// plugin. Logs and metrics never hold a token, a password or an address.
package bridge
