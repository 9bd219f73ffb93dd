//go:build unix

package testenv

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// Cached returns the absolute path of the cache folder called name, which must
// be usable as a file name. When there is none yet, build fills it: called with
// the empty folder at its final place, by one process at a time, again after a
// failure or a crash. A finished folder is shared and has to stay as it is.
func Cached(name string, build func(dir string) error) (string, error) {
	root, err := cacheRoot()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(root, name)
	complete := filepath.Join(root, name+".complete")
	if _, err := os.Stat(complete); err == nil {
		return dir, nil
	}

	unlock, err := Lock(name)
	if err != nil {
		return "", err
	}
	defer unlock()
	if _, err := os.Stat(complete); err == nil {
		return dir, nil // built while we waited
	}
	if err := os.RemoveAll(dir); err != nil {
		return "", fmt.Errorf("clear unfinished cache folder: %w", err)
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		return "", fmt.Errorf("make cache folder: %w", err)
	}
	if err := build(dir); err != nil {
		return "", errors.Join(err, os.RemoveAll(dir))
	}
	if err := os.WriteFile(complete, nil, 0o600); err != nil {
		return "", fmt.Errorf("mark cache folder as complete: %w", err)
	}
	return dir, nil
}

// cacheRoot is STETL_TEST_CACHE, or stetl-test in the user's cache folder.
func cacheRoot() (string, error) {
	root := os.Getenv("STETL_TEST_CACHE")
	if root == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			return "", fmt.Errorf("find a cache folder (or set STETL_TEST_CACHE): %w", err)
		}
		root = filepath.Join(user, "stetl-test")
	}
	if !filepath.IsAbs(root) {
		return "", fmt.Errorf("STETL_TEST_CACHE is %q: give an absolute path, as each package is tested in its own folder", root)
	}
	if err := os.MkdirAll(root, 0o755); err != nil {
		return "", fmt.Errorf("make cache folder: %w", err)
	}
	return root, nil
}

// Lock waits until this process is the only one to hold the lock of that name,
// which must be usable as a file name.
func Lock(name string) (unlock func(), err error) {
	root, err := cacheRoot()
	if err != nil {
		return nil, err
	}
	path := filepath.Join(root, name+".lock")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open cache lock: %w", err)
	}
	for {
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX)
		if !errors.Is(err, syscall.EINTR) {
			break
		}
	}
	if err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return func() { _ = f.Close() }, nil
}
