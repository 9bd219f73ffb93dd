// Package plugintest serves a plugin inside a test: real gRPC and the real
// conversions over an in-memory connection, without a process.
//
//	c := plugintest.Serve(t, plugin, map[string]any{"url": server.URL})
//	outcomes, err := c.Load(t.Context(), users)
package plugintest
