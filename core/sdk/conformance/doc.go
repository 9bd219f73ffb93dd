// Package conformance is what "a target plugin of stetl" means, as a list of
// rules that can be tried out on any plugin: on one in Go from its own tests,
// in the same process, and on an executable in any language.
//
//	conformance.Test(t, conformance.Suite{
//		Start: conformance.InProcess(plugin, map[string]any{"url": server.URL}),
//	})
//
// "stetl plugin test FILE" runs the same rules. They write accounts of invented
// people, whose ids are new in each run, so the target should be one for tests.
//
// The package does not import testing, and a rule that it does not have is not
// promised to anybody.
package conformance
