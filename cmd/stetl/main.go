// Command stetl moves the users of a SuperTokens installation into another
// identity provider.
package main

import "os"

func main() {
	os.Exit(run(os.Args[1:], streams{in: os.Stdin, out: os.Stdout, err: os.Stderr}))
}
