//go:build !unix

package folder

// mayWrite leaves the answer to the first write where the system cannot say.
func mayWrite(string) error { return nil }

// Sync does nothing where a folder cannot be synced.
func Sync(string) error { return nil }
