//go:build unix

package folder

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// mayWrite asks the system whether this process may create files in dir.
func mayWrite(dir string) error { return unix.Access(dir, unix.W_OK|unix.X_OK) }

// Sync makes renames in dir durable.
func Sync(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
