// Command stetl moves the users of a SuperTokens installation into another
// identity provider.
package main

import (
	"os"
	"runtime/debug"
)

func main() {
	spareMemory()
	os.Exit(run(os.Args[1:], streams{in: os.Stdin, out: os.Stdout, err: os.Stderr}))
}

// spareMemory has garbage collected earlier than usual, unless GOGC says otherwise: a
// move makes much of it, and a host with a million accounts then stays small for about
// a tenth more of processor time.
func spareMemory() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(50)
	}
}
