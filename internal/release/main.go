package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// recipe is release.json.
type recipe struct {
	Name        string   `json:"name"`
	Command     string   `json:"command"`
	Summary     string   `json:"summary"`
	Description string   `json:"description"`
	Homepage    string   `json:"homepage"`
	Maintainer  string   `json:"maintainer"`
	License     string   `json:"license"`
	Platforms   []string `json:"platforms"`
	Files       []string `json:"files"`
	ImageUser   int      `json:"image_user"`
}

// release is one that is being made.
type release struct {
	recipe
	// version is that of the program, without a v before a number.
	version string
	// out gets what is handed on, and work what it is made of.
	out, work string
	// when is the time of every file: that of the commit.
	when time.Time
	// roots is the file with the certificates that the image trusts.
	roots string
	// nfpm makes packages, and gomod the list of what the program is made of; nil makes none.
	nfpm, gomod []string
	// root is the tree, from here.
	root string
}

// program is the package of the program.
func (r *release) program() string { return "./" + filepath.Join(r.root, "cmd", r.Command) }

func main() {
	r := release{
		nfpm:  []string{"go", "tool", "-modfile=tools/nfpm.mod", "nfpm"},
		gomod: []string{"go", "tool", "-modfile=tools/sbom.mod", "cyclonedx-gomod"},
	}
	version := flag.String("version", "", "version (default that of git)")
	flag.StringVar(&r.out, "out", "dist", "folder to write to")
	flag.StringVar(&r.roots, "roots", cmp.Or(os.Getenv("STETL_CA_BUNDLE"), "/etc/ssl/certs/ca-certificates.crt"), "certificates that the image trusts")
	platforms := flag.String("platforms", "", "only these, with commas between")
	packages := flag.Bool("packages", true, "make deb and rpm")
	sbom := flag.Bool("sbom", true, "list what the program is made of")
	flag.Parse()
	if !*packages {
		r.nfpm = nil
	}
	if !*sbom {
		r.gomod = nil
	}
	if err := r.prepare(*version, *platforms); err != nil {
		fail(err)
	}
	if err := r.make(); err != nil {
		fail(err)
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "release:", err)
	os.Exit(1) //nolint:forbidigo // this is a main
}

var numbered = regexp.MustCompile(`^v([0-9]+\.[0-9]+\.[0-9]+.*)$`)

// prepare reads the recipe, and finds out what is released.
func (r *release) prepare(version, platforms string) error {
	raw, err := os.ReadFile("release.json")
	if err != nil {
		return fmt.Errorf("run it at the root of the tree: %w", err)
	}
	if err := json.Unmarshal(raw, &r.recipe); err != nil {
		return fmt.Errorf("release.json: %w", err)
	}
	if platforms != "" {
		r.Platforms = strings.Split(platforms, ",")
	}
	if version == "" {
		version = cmp.Or(git("describe", "--tags", "--always", "--dirty"), "dev")
	}
	if m := numbered.FindStringSubmatch(version); m != nil {
		r.version = m[1]
	} else {
		r.version = "0.0.0-snapshot." + version
	}
	r.when = time.Unix(1767225600, 0).UTC() // 2026-01-01, outside of a repository
	for _, text := range []string{os.Getenv("SOURCE_DATE_EPOCH"), git("log", "-1", "--format=%ct")} {
		if seconds, err := strconv.ParseInt(text, 10, 64); err == nil {
			r.when = time.Unix(seconds, 0).UTC()
			break
		}
	}
	r.work = filepath.Join(r.out, "work")
	return errors.Join(os.RemoveAll(r.out), os.MkdirAll(r.work, 0o755)) //nolint:gosec // nothing secret in it
}

// command is a program that is run to its end.
func command(name string, args ...string) *exec.Cmd {
	return exec.CommandContext(context.Background(), name, args...) //nolint:gosec // words of this program and of its recipe
}

// git is one line of git's answer, empty where there is none.
func git(args ...string) string {
	out, err := command("git", args...).Output()
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(out))
}

// make makes all of it.
func (r *release) make() error {
	for _, platform := range r.Platforms {
		if err := r.build(platform); err != nil {
			return err
		}
	}
	steps := []struct {
		what string
		do   func(*release) error
	}{
		{"completions, pages and licences", (*release).papers},
		{"archives", (*release).archives},
		{"protocol", (*release).protocol},
		{"packages", packages},
		{"image", image},
		{"formula", formula},
		{"bill of materials", bill},
		{"checksums", checksums},
	}
	for _, step := range steps {
		fmt.Fprintln(os.Stdout, step.what)
		if err := step.do(r); err != nil {
			return fmt.Errorf("%s: %w", step.what, err)
		}
	}
	return os.RemoveAll(r.work)
}

// binary is where the program for a platform is built.
func (r *release) binary(platform string) string {
	goos, _, _ := strings.Cut(platform, "/")
	name := r.Command
	if goos == "windows" {
		name += ".exe"
	}
	return filepath.Join(r.work, "bin", strings.ReplaceAll(platform, "/", "_"), name)
}

func (r *release) build(platform string) error {
	goos, arch, ok := strings.Cut(platform, "/")
	if !ok {
		return fmt.Errorf("%q is no platform like linux/amd64", platform)
	}
	fmt.Fprintln(os.Stdout, "build", platform)
	version := r.version
	if version[0] >= '0' && version[0] <= '9' && !strings.Contains(version, "snapshot") {
		version = "v" + version
	}
	c := command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w -buildid= -X main.version="+version, "-o", r.binary(platform), r.program())
	c.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS="+goos, "GOARCH="+arch, "GOAMD64=v1", "GOARM64=v8.0", "GOFLAGS=")
	c.Stdout, c.Stderr = os.Stdout, os.Stderr
	if err := c.Run(); err != nil {
		return fmt.Errorf("build for %s: %w", platform, err)
	}
	return nil
}

// papers writes what belongs to the program, and is the same on every platform.
func (r *release) papers() error {
	host := r.binary(runtime.GOOS + "/" + runtime.GOARCH)
	if _, err := os.Stat(host); err != nil {
		if err := r.build(runtime.GOOS + "/" + runtime.GOARCH); err != nil {
			return err
		}
	}
	run := func(file string, args ...string) error {
		out, err := command(host, args...).Output()
		if err != nil {
			return fmt.Errorf("%s %s: %w", r.Command, strings.Join(args, " "), err)
		}
		path := filepath.Join(r.work, "papers", file)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil { //nolint:gosec // nothing secret in it
			return err
		}
		return os.WriteFile(path, out, 0o644) //nolint:gosec // nothing secret in it
	}
	for shell, file := range map[string]string{"bash": "stetl.bash", "zsh": "_stetl", "fish": "stetl.fish", "powershell": "stetl.ps1"} {
		if err := run("completions/"+file, "completion", shell); err != nil {
			return err
		}
	}
	if err := run("stetl.schema.json", "config", "schema"); err != nil {
		return err
	}
	man := filepath.Join(r.work, "papers", "man", "man1")
	if out, err := command(host, "man", "--out", man).CombinedOutput(); err != nil {
		return fmt.Errorf("pages: %w: %s", err, out)
	}
	return r.licences(filepath.Join(r.work, "papers", "LICENSES-OF-DEPENDENCIES.txt"))
}
