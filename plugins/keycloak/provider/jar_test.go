//go:build unix

package provider_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/stetl/stetl/internal/testserver/jdk"
	"github.com/stetl/stetl/internal/testserver/testenv"
	"github.com/stetl/stetl/plugins/keycloak/provider"
)

// TestEmbeddedJarMatchesSources builds the sources, which runs the Java tests,
// and compares the result with the committed jar.
func TestEmbeddedJarMatchesSources(t *testing.T) {
	t.Parallel()
	testenv.Slow(t, "builds with Maven")
	java, err := jdk.Home("javac", 17, 21, 25)
	if err != nil {
		testenv.Skip(t, "a Java compiler", err.Error())
	}
	dir := t.TempDir()
	for _, part := range []string{"pom.xml", "src"} {
		if err := copyTree(part, filepath.Join(dir, part)); err != nil {
			t.Fatal(err)
		}
	}
	err = jdk.Maven(t.Context(), dir, java, "verify")
	if errors.Is(err, jdk.ErrNotFound) {
		testenv.Skip(t, "Maven", err.Error())
	}
	if err != nil {
		t.Fatal(err)
	}
	built, err := os.ReadFile(filepath.Join(dir, "target", provider.FileName))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(built, provider.Jar()) {
		t.Errorf("the sources build a jar of %d bytes that differs from the committed %s (%d bytes): run build.sh and commit it",
			len(built), provider.FileName, len(provider.Jar()))
	}
}

func copyTree(from, to string) error {
	info, err := os.Stat(from)
	if err != nil {
		return err
	}
	if info.IsDir() {
		return os.CopyFS(to, os.DirFS(from))
	}
	content, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, content, 0o600)
}
