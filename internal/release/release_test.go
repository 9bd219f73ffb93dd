//go:build release && linux

package main

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stetl/stetl/internal/testserver/testenv"
)

const version = "v0.1.0"

// make makes a release for this machine in the tree at root.
func makeRelease(t *testing.T, root, out string, env ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "run", "./internal/release", "-sbom=false", "-version", version, "-platforms", "linux/"+runtime.GOARCH, "-out", out)
	cmd.Dir, cmd.Env = root, append(append(os.Environ(), "SOURCE_DATE_EPOCH=1764547200"), env...)
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
}

func sh(t *testing.T, dir, script string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "sh", "-ec", script)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", script, err, out)
	}
	return string(out)
}

func one(t *testing.T, pattern string) string {
	t.Helper()
	found, err := filepath.Glob(pattern)
	if err != nil || len(found) != 1 {
		t.Fatalf("%s: %v, %v", pattern, found, err)
	}
	return found[0]
}

// TestRelease makes a release, and uses it as those do who get it.
func TestRelease(t *testing.T) {
	dist := t.TempDir()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	makeRelease(t, root, dist)
	t.Run("the same twice", func(t *testing.T) {
		// At another place, and compiled anew.
		tree, again := t.TempDir(), t.TempDir()
		sh(t, root, "git ls-files -z --cached --others --exclude-standard | xargs -0 cp --parents -t "+tree)
		makeRelease(t, tree, again, "GOCACHE="+t.TempDir())
		first, second := sums(t, dist), sums(t, again)
		if len(first) < 5 {
			t.Errorf("only %d files", len(first))
		}
		for name, sum := range first {
			if second[name] != sum {
				t.Errorf("%s differs", name)
			}
		}
	})
	t.Run("a bare root", func(t *testing.T) { bareRoot(t, dist) })
	t.Run("packages", func(t *testing.T) { packagesBesideOthers(t, dist) })
	t.Run("the image", func(t *testing.T) { imageRuns(t, dist) })
	t.Run("the protocol", func(t *testing.T) {
		archive := one(t, filepath.Join(dist, "stetl-protocol_*.tar.gz"))
		if files := sh(t, ".", "tar -tzf "+archive); !strings.Contains(files, "stetl/plugin/v1/target.proto") || sums(t, dist)[filepath.Base(archive)] == "" {
			t.Errorf("it has %s", files)
		}
	})
	t.Run("the formula", func(t *testing.T) {
		formula, err := os.ReadFile(filepath.Join(dist, "stetl-idp.rb"))
		if err != nil {
			t.Fatal(err)
		}
		archive := one(t, filepath.Join(dist, "stetl-idp_*.tar.gz"))
		for _, want := range []string{"class StetlIdp < Formula", sums(t, dist)[filepath.Base(archive)], filepath.Base(archive)} {
			if !strings.Contains(string(formula), want) {
				t.Errorf("the formula lacks %s:\n%s", want, formula)
			}
		}
	})
	t.Run("a signature", func(t *testing.T) {
		if _, err := exec.LookPath("ssh-keygen"); err != nil {
			testenv.Skip(t, "ssh-keygen", err.Error())
		}
		dir := t.TempDir()
		sh(t, dir, "ssh-keygen -q -t ed25519 -N '' -f key && echo release $(cat key.pub) > allowed && ssh-keygen -Y sign -q -n stetl-release -f key "+filepath.Join(dist, "checksums.txt")+
			" && ssh-keygen -Y verify -f allowed -I release -n stetl-release -s "+filepath.Join(dist, "checksums.txt.sig")+" < "+filepath.Join(dist, "checksums.txt"))
	})
}

// sums are the checksums as they were written, each of them right.
func sums(t *testing.T, dist string) map[string]string {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(dist, "checksums.txt"))
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for line := range strings.Lines(string(raw)) {
		sum, name, _ := strings.Cut(strings.TrimSpace(line), "  ")
		if got, err := sumOf(filepath.Join(dist, name)); err != nil || got != sum {
			t.Errorf("%s: %s, %v; want %s", name, got, err, sum)
		}
		all[name] = sum
	}
	return all
}

// inside runs a command in a folder that is all there is: no network, no variables, no Go.
func inside(t *testing.T, root, user string, command ...string) (string, int) {
	t.Helper()
	if os.Getuid() != 0 {
		testenv.Skip(t, "a bare root", "it takes root to have nothing else there")
	}
	// What every system has, however bare: /proc, and a device that nothing comes from.
	sh(t, root, "mkdir -p proc dev && { test -c dev/null || mknod -m 666 dev/null c 1 3; }")
	args := append([]string{
		"-i", "PATH=/nowhere", "HOME=/tmp", "unshare", "--net", "--pid", "--fork", "--mount", "--mount-proc=" + filepath.Join(root, "proc"),
		"chroot", "--userspec=" + user, root,
	}, command...)
	for i, word := range args { // env finds no program any more
		if path, err := exec.LookPath(word); err == nil && (word == "unshare" || word == "chroot") {
			args[i] = path
		}
	}
	cmd := exec.CommandContext(t.Context(), "env", args...)
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

// ownDump follows the page about installing: three commands from the archive to a dry run,
// on a dump of one's own. It is invented where nothing else is, too.
func ownDump(t *testing.T, archive string) {
	const accounts = "20000"
	other, root := t.TempDir(), t.TempDir()
	sh(t, other, "tar -xzf "+archive+" --strip-components 1 && mkdir -m 1777 tmp")
	if out, code := inside(t, other, "0:0", "/stetl", "generate", "--accounts", accounts, "--out", "/supertokens.sql"); code != 0 {
		t.Fatalf("generate: exit %d\n%s", code, out)
	}
	sh(t, root, "mv "+filepath.Join(other, "supertokens.sql")+" .")
	began := time.Now()
	sh(t, root, "tar -xzf "+archive+" --strip-components 1 && mkdir -m 1777 tmp")
	out, code := inside(t, root, "0:0", "/stetl", "init", "--dump", "supertokens.sql", "--target", "keycloak", "--set", "mode=files", "--set", "realm=customers", "--set", "out=./import")
	if code != 0 || !strings.Contains(out, "stetl check accepts it") {
		t.Fatalf("init: exit %d\n%s", code, out)
	}
	out, code = inside(t, root, "0:0", "/stetl", "run", "--dry-run", "--quiet")
	t.Logf("from the archive to a dry run of %s accounts of one's own, three commands: %s", accounts, time.Since(began).Round(10*time.Millisecond))
	if code != 4 || !strings.Contains(out, "Dry run, nothing was written: 20,000 accounts") {
		t.Fatalf("dry run: exit %d\n%s", code, out)
	}
}

// bareRoot installs the archive where nothing else is, and follows the README.
func bareRoot(t *testing.T, dist string) {
	root := t.TempDir()
	began := time.Now()
	sh(t, root, "tar -xzf "+one(t, filepath.Join(dist, "stetl-idp_*.tar.gz"))+" --strip-components 1 && mkdir -m 1777 tmp")
	out, code := inside(t, root, "0:0", "/stetl", "run", "--config", "/configs/quickstart.yaml", "--dry-run")
	t.Logf("from the archive to a dry run: %s", time.Since(began).Round(10*time.Millisecond))
	if code != 0 || !strings.Contains(out, "Dry run, nothing was written: 125 accounts") {
		t.Fatalf("dry run: exit %d\n%s", code, out)
	}
	ownDump(t, one(t, filepath.Join(dist, "stetl-idp_*.tar.gz")))
	if out, code = inside(t, root, "0:0", "/stetl", "run", "--config", "/configs/quickstart.yaml"); code != 0 || !strings.Contains(out, "Done: 125 accounts") {
		t.Errorf("run: exit %d\n%s", code, out)
	}
	if out, code = inside(t, root, "0:0", "/stetl", "--version"); code != 0 || !strings.HasPrefix(out, "stetl "+version+" ") {
		t.Errorf("--version: exit %d, %q", code, out)
	}
	for _, file := range []string{"LICENSE", "LICENSES-OF-DEPENDENCIES.txt", "README.md", "man/man1/stetl.1", "man/man1/stetl-run.1", "completions/stetl.bash", "completions/_stetl", "completions/stetl.fish", "completions/stetl.ps1", "stetl.schema.json"} {
		if info, err := os.Stat(filepath.Join(root, file)); err != nil || info.Size() == 0 {
			t.Errorf("%s: %v", file, err)
		}
	}
}

// packagesBesideOthers installs the package beside one that has the command stetl, and
// alone.
func packagesBesideOthers(t *testing.T, dist string) {
	rpm, err := os.ReadFile(one(t, filepath.Join(dist, "*.rpm")))
	if err != nil || !bytes.HasPrefix(rpm, []byte{0xed, 0xab, 0xee, 0xdb}) {
		t.Errorf("the rpm is none: %v", err)
	}
	if _, err := exec.LookPath("rpm"); err == nil {
		files := sh(t, ".", "rpm -qlp --nosignature "+one(t, filepath.Join(dist, "*.rpm")))
		if !strings.Contains(files, "/usr/bin/stetl-idp\n") || strings.Contains(files, "/usr/bin/stetl\n") {
			t.Errorf("files of the rpm:\n%s", files)
		}
	}
	if _, err := exec.LookPath("dpkg"); err != nil {
		testenv.Skip(t, "dpkg", err.Error())
	}
	deb := one(t, filepath.Join(dist, "*.deb"))
	dir := t.TempDir()
	other := filepath.Join(dir, "other")
	sh(t, dir, `mkdir -p other/DEBIAN other/usr/bin && printf 'Package: stetl\nVersion: 2.0\nArchitecture: all\nMaintainer: x <x@example.org>\nDescription: another\n' > other/DEBIAN/control &&
echo theirs > other/usr/bin/stetl && dpkg-deb --root-owner-group -b other other.deb`)
	for name, beside := range map[string]bool{"beside the other one": true, "alone": false} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			dpkg := "dpkg --root=" + root + " --force-script-chrootless --force-not-root --force-depends --log=" + filepath.Join(root, "log") + " "
			sh(t, root, "mkdir -p var/lib/dpkg/updates var/lib/dpkg/info usr/bin && touch var/lib/dpkg/status var/lib/dpkg/available")
			if beside {
				sh(t, root, dpkg+"-i "+other+".deb")
			}
			sh(t, root, dpkg+"-i "+deb)
			command, link := filepath.Join(root, "usr/bin/stetl"), ""
			if !beside {
				link = "stetl-idp"
			}
			if got, _ := os.Readlink(command); got != link {
				t.Errorf("/usr/bin/stetl leads to %q", got)
			}
			if out := sh(t, root, filepath.Join(root, "usr/bin/stetl-idp")+" --version"); !strings.Contains(out, version) {
				t.Errorf("--version: %s", out)
			}
			sh(t, root, dpkg+"-r stetl-idp")
			left, err := os.ReadFile(command)
			if beside && string(left) != "theirs\n" || !beside && !errors.Is(err, os.ErrNotExist) {
				t.Errorf("after it was removed: %q, %v", left, err)
			}
		})
	}
}

// imageRuns takes the image apart as its specification says, and runs what is in it.
func imageRuns(t *testing.T, dist string) {
	dir := t.TempDir()
	sh(t, dir, "tar -xf "+one(t, filepath.Join(dist, "*_image.tar")))
	read := func(d descriptor, into any) {
		t.Helper()
		raw, err := os.ReadFile(filepath.Join(dir, "blobs", strings.ReplaceAll(d.Digest, ":", "/")))
		if err != nil || digestOf(raw) != d.Digest || len(raw) != d.Size {
			t.Fatalf("%s: %d bytes of %d, %v", d.Digest, len(raw), d.Size, err)
		}
		if into != nil {
			if err := json.Unmarshal(raw, into); err != nil {
				t.Fatal(err)
			}
		}
	}
	var index struct{ Manifests []descriptor }
	raw, err := os.ReadFile(filepath.Join(dir, "index.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, &index); err != nil || len(index.Manifests) != 1 {
		t.Fatalf("%v: %s", err, raw)
	}
	read(index.Manifests[0], &index)
	var manifest struct {
		Config descriptor
		Layers []descriptor
	}
	read(index.Manifests[0], &manifest)
	var config struct {
		Config struct {
			User       string
			Entrypoint []string
		}
		Rootfs struct {
			DiffIDs []string `json:"diff_ids"`
		}
	}
	read(manifest.Config, &config)
	if config.Config.User != "65532:65532" || !slices.Equal(config.Config.Entrypoint, []string{"/usr/bin/stetl"}) {
		t.Errorf("config: %+v", config)
	}
	read(manifest.Layers[0], nil)
	blob, err := os.Open(filepath.Join(dir, "blobs", strings.ReplaceAll(manifest.Layers[0].Digest, ":", "/")))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = blob.Close() }()
	z, err := gzip.NewReader(bufio.NewReader(blob))
	if err != nil {
		t.Fatal(err)
	}
	plain, err := io.ReadAll(z)
	if err != nil || digestOf(plain) != config.Rootfs.DiffIDs[0] {
		t.Errorf("the layer is not what the config says: %v", err)
	}
	names := map[string]*tar.Header{}
	for r := tar.NewReader(bytes.NewReader(plain)); ; {
		h, err := r.Next()
		if err != nil {
			break
		}
		names[h.Name] = h
		if h.Mode&0o022 != 0 && h.Name != "tmp/" {
			t.Errorf("%s is writable for others: %o", h.Name, h.Mode)
		}
	}
	for _, want := range []string{"usr/bin/stetl", "etc/ssl/certs/ca-certificates.crt", "usr/share/stetl-idp/stetl-keycloak-bcrypt.jar", "usr/share/stetl-idp/LICENSES-OF-DEPENDENCIES.txt"} {
		if h := names[want]; h == nil || h.Size == 0 {
			t.Errorf("%s is not in the image", want)
		}
	}
	// Where volumes are mounted, as the pages say: the user of the image writes there.
	for _, folder := range []string{"work/", "var/lib/stetl/"} {
		if h := names[folder]; h == nil || h.Uid != 65532 {
			t.Errorf("%s does not belong to the user of the image", folder)
		}
	}
	root := t.TempDir()
	if err := os.WriteFile(filepath.Join(root, "layer.tar"), plain, 0o600); err != nil {
		t.Fatal(err)
	}
	sh(t, root, "chmod 755 . && tar -xpf layer.tar && rm layer.tar")
	// A plugin is started, which takes /tmp and nothing else that can be written.
	out, code := inside(t, root, "65532:65532", "/usr/bin/stetl", "plugin", "describe", "keycloak")
	if code != 0 || !strings.Contains(out, `"name": "keycloak"`) {
		t.Errorf("exit %d\n%s", code, out)
	}
}
