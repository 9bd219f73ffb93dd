// Package httpx is how a target plugin speaks HTTP: one transport that finds out how
// much the target can take, waits when it is told to, and tries again what can be
// tried again without harm.
//
//	client := httpx.NewClient(httpx.Options{UserAgent: env.UserAgent, Pulse: env.Pulse, Log: env.Log})
//
// It is the only layer that retries, so clients built on it must have their own
// retries off. What it tries again: requests that can be repeated by their method
// (GET, HEAD, PUT, DELETE, OPTIONS) or because the caller said so with [Retryable];
// of all others, those that certainly never arrived and those that were answered
// 429. Any other failure of a POST leaves open whether it was carried out, which
// [Uncertain] tells: look the account up. What a repeated request may have done before
// its answer, [WithTrace] tells.
//
// An answer is read whole before it is given, since one that breaks off is none;
// [Stream] is for those that are too large. [Tokens] signs in and renews, [TLS] is the
// block of a configuration for certificates, [Scrubber] takes out of texts what a
// target repeats.
package httpx
