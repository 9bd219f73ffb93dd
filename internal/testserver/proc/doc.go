// Package proc runs server processes for tests so that none outlives the test
// process, however that ends: a guard process holds the read end of a pipe, and
// its closing, by [Process.Stop] or by a crash or SIGKILL of the test, is what
// stops the server and removes its folder. One path for both ends of a test
// keeps the rare one tested.
package proc
