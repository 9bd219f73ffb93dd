package jdk

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// ErrNotFound is the error of [Home] and [Maven] for a program that is not
// installed.
var ErrNotFound = errors.New("not found")

// usualPlaces are where distributions and installers put Java.
var usualPlaces = []string{
	"/usr/lib/jvm/*",
	"/opt/java/*",
	"/Library/Java/JavaVirtualMachines/*/Contents/Home",
}

// Home returns the folder of a Java installation that has the program ("java",
// or "javac" to compile) and one of the major versions: the one that JAVA_HOME
// names, else the one on PATH, else one in the usual places.
func Home(program string, majors ...int) (string, error) {
	homes := []string{os.Getenv("JAVA_HOME")}
	if onPath, err := exec.LookPath(program); err == nil {
		if target, err := filepath.EvalSymlinks(onPath); err == nil {
			homes = append(homes, filepath.Dir(filepath.Dir(target)))
		}
	}
	for _, pattern := range usualPlaces {
		found, _ := filepath.Glob(pattern) // the patterns are well-formed
		homes = append(homes, found...)
	}
	var seen []string
	for _, home := range homes {
		major, ok := Major(home)
		if !ok {
			continue
		}
		if _, err := os.Stat(filepath.Join(home, "bin", program)); err != nil {
			continue
		}
		if slices.Contains(majors, major) {
			return home, nil
		}
		seen = append(seen, home)
	}
	return "", fmt.Errorf("%s %w: version %v is needed, in JAVA_HOME, on PATH or in %s (other versions: %v)",
		program, ErrNotFound, majors, strings.Join(usualPlaces, ", "), seen)
}

var versionLine = regexp.MustCompile(`(?m)^JAVA_VERSION="(?:1\.)?(\d+)`)

// Major tells the major version of the Java installation in the folder, from
// its release file; ok is false where there is none.
func Major(home string) (major int, ok bool) {
	release, err := os.ReadFile(filepath.Join(home, "release"))
	if err != nil {
		return 0, false
	}
	m := versionLine.FindSubmatch(release)
	if m == nil {
		return 0, false
	}
	major, err = strconv.Atoi(string(m[1]))
	return major, err == nil
}

// Maven runs mvn in the folder, on the given Java installation. Its output is
// part of the error.
func Maven(ctx context.Context, dir, javaHome string, args ...string) error {
	mvn, err := exec.LookPath("mvn")
	if err != nil {
		return fmt.Errorf("mvn %w: install Maven", ErrNotFound)
	}
	// File modes end up in archives: those of a fixed umask, not of the user's.
	script := append([]string{"-c", `umask 022 && exec "$@"`, "sh", mvn, "--batch-mode", "--quiet"}, args...)
	cmd := exec.CommandContext(ctx, "/bin/sh", script...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "JAVA_HOME="+javaHome)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("mvn %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return nil
}
