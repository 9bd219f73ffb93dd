//go:build race

package plugin

// Plugins of a test have the race detector too, and it is told how to behave.
func init() { passed = append(passed, "GORACE") }
