//go:build !unix

package auth0

// mayWrite leaves the answer to the first write where the system cannot say.
func mayWrite(string) error { return nil }

// syncDir does nothing where a folder cannot be synced.
func syncDir(string) error { return nil }
