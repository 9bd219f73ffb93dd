package main

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"text/template"
	"time"
)

// packages makes deb and rpm for Linux. Another program is called stetl, too: the command
// is stetl-idp, and stetl as well where nobody else has that name.
func packages(r *release) error {
	if r.nfpm == nil {
		return nil
	}
	pages, err := packedPages(r)
	if err != nil {
		return err
	}
	scripts := filepath.Join(r.work, "scripts")
	if err := os.MkdirAll(scripts, 0o755); err != nil { //nolint:gosec // nothing secret in it
		return err
	}
	for name, text := range map[string]string{"install": postInstall, "remove": preRemove} {
		if err := os.WriteFile(filepath.Join(scripts, name), []byte(strings.ReplaceAll(text, "NAME", r.Name)), 0o755); err != nil { //nolint:gosec // a script that is run
			return err
		}
	}
	for _, platform := range r.Platforms {
		goos, arch, _ := strings.Cut(platform, "/")
		if goos != "linux" {
			continue
		}
		share := "/usr/share/doc/" + r.Name
		contents := []map[string]any{
			packed(r, r.binary(platform), "/usr/bin/"+r.Name, 0o755),
			packed(r, "LICENSE", share+"/copyright", 0o644),
			packed(r, "README.md", share+"/README.md", 0o644),
			packed(r, "CHANGELOG.md", share+"/CHANGELOG.md", 0o644),
			packed(r, filepath.Join(r.work, "papers", "LICENSES-OF-DEPENDENCIES.txt"), share+"/LICENSES-OF-DEPENDENCIES.txt", 0o644),
		}
		for shell, to := range map[string]string{
			"stetl.bash": "/usr/share/" + r.Name + "/completions/stetl.bash", "_stetl": "/usr/share/" + r.Name + "/completions/_stetl", "stetl.fish": "/usr/share/" + r.Name + "/completions/stetl.fish",
		} {
			contents = append(contents, packed(r, filepath.Join(r.work, "papers", "completions", shell), to, 0o644))
		}
		for _, page := range pages {
			contents = append(contents, packed(r, page, "/usr/share/man/man1/"+filepath.Base(page), 0o644))
		}
		config := filepath.Join(r.work, "nfpm_"+arch+".yaml")
		text := encoded(map[string]any{ // which is YAML as well
			"name": r.Name, "arch": arch, "platform": "linux", "version": r.version, "version_schema": "semver", "section": "admin", "priority": "optional",
			"maintainer": r.Maintainer, "description": r.Summary + "\n" + r.Description, "homepage": r.Homepage, "license": r.License,
			"mtime": r.when.Format(time.RFC3339), "contents": contents, "recommends": []string{"ca-certificates"},
			"scripts": map[string]string{"postinstall": filepath.Join(scripts, "install"), "preremove": filepath.Join(scripts, "remove")},
			"rpm":     map[string]any{"buildhost": r.Name, "compression": "gzip"},
		})
		if err := os.WriteFile(config, text, 0o600); err != nil {
			return err
		}
		for _, kind := range []string{"deb", "rpm"} {
			to := filepath.Join(r.out, r.base(platform)+"."+kind)
			c := command(r.nfpm[0], append(r.nfpm[1:], "package", "--config", config, "--packager", kind, "--target", to)...)
			c.Env = append(os.Environ(), fmt.Sprintf("SOURCE_DATE_EPOCH=%d", r.when.Unix()))
			if out, err := c.CombinedOutput(); err != nil {
				return fmt.Errorf("%s for %s: %w: %s", kind, platform, err, out)
			}
		}
	}
	return nil
}

// packed is a file of a package.
func packed(r *release, from, to string, mode os.FileMode) map[string]any {
	return map[string]any{"src": from, "dst": to, "file_info": map[string]any{"mode": int(mode), "owner": "root", "group": "root", "mtime": r.when.Format(time.RFC3339)}}
}

// packedPages packs the manual pages under the name of the package.
func packedPages(r *release) ([]string, error) {
	pages, err := filepath.Glob(filepath.Join(r.work, "papers", "man", "man1", "*.1"))
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(r.work, "man")
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // nothing secret in it
		return nil, err
	}
	var all []string
	for _, page := range pages {
		raw, err := os.ReadFile(page)
		if err != nil {
			return nil, err
		}
		var b bytes.Buffer
		z, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
		if err != nil {
			return nil, err
		}
		if _, err := z.Write(raw); err != nil {
			return nil, err
		}
		if err := z.Close(); err != nil {
			return nil, err
		}
		to := filepath.Join(dir, r.Name+strings.TrimPrefix(filepath.Base(page), r.Command)+".gz")
		if err := os.WriteFile(to, b.Bytes(), 0o644); err != nil { //nolint:gosec // a page that everybody reads
			return nil, err
		}
		all = append(all, to)
	}
	return all, nil
}

const postInstall = `#!/bin/sh
# stetl is the name of another program, too: it keeps it.
set -e
root="$DPKG_ROOT"
if [ ! -e "$root/usr/bin/stetl" ] && [ ! -L "$root/usr/bin/stetl" ]; then
	ln -s NAME "$root/usr/bin/stetl"
fi
`

const preRemove = `#!/bin/sh
set -e
# Of an upgrade, the link is that of the next version, too.
case "$1" in upgrade|1) exit 0 ;; esac
root="$DPKG_ROOT"
if [ "$(readlink "$root/usr/bin/stetl" 2>/dev/null)" = NAME ]; then
	rm -f "$root/usr/bin/stetl"
fi
`

var formulaText = template.Must(template.New("formula").Parse(`# Made by release. The command is stetl; a formula of that name is another program's.
class {{.Class}} < Formula
  desc "{{.Summary}}"
  homepage "{{.Homepage}}"
  version "{{.Version}}"
  license "{{.License}}"
{{range .Systems}}
  on_{{.Name}} do
{{- range .Archives}}
    on_{{.CPU}} do
      url "{{$.Homepage}}/releases/download/v{{$.Version}}/{{.File}}"
      sha256 "{{.Sum}}"
    end
{{- end}}
  end
{{end}}
  def install
    bin.install "stetl" => "{{.Package}}"
    bin.install_symlink bin/"{{.Package}}" => "stetl" unless (HOMEBREW_PREFIX/"bin/stetl").exist?
    man1.install Dir["man/man1/*.1"]
    bash_completion.install "completions/stetl.bash" => "stetl"
    zsh_completion.install "completions/_stetl"
    fish_completion.install "completions/stetl.fish"
    pkgshare.install "configs", "testdata"
  end

  test do
    assert_match version.to_s, shell_output("#{bin}/{{.Package}} --version")
  end
end
`))

// formula writes the recipe for Homebrew.
func formula(r *release) error {
	type archive struct{ CPU, File, Sum string }
	type system struct {
		Name     string
		Archives []archive
	}
	data := struct {
		Class, Summary, Homepage, Version, License, Package string
		Systems                                             []system
	}{Summary: r.Summary, Homepage: r.Homepage, Version: r.version, License: r.License, Package: r.Name}
	for word := range strings.SplitSeq(r.Name, "-") {
		data.Class += strings.ToUpper(word[:1]) + word[1:]
	}
	for goos, name := range map[string]string{"darwin": "macos", "linux": "linux"} {
		s := system{Name: name}
		for _, cpu := range []struct{ arch, name string }{{"amd64", "intel"}, {"arm64", "arm"}} {
			file := r.base(goos+"/"+cpu.arch) + ".tar.gz"
			sum, err := sumOf(filepath.Join(r.out, file))
			if os.IsNotExist(err) {
				continue
			}
			if err != nil {
				return err
			}
			s.Archives = append(s.Archives, archive{cpu.name, file, sum})
		}
		if len(s.Archives) > 0 {
			data.Systems = append(data.Systems, s)
		}
	}
	if len(data.Systems) == 2 && data.Systems[0].Name != "macos" { // a map has no order
		data.Systems[0], data.Systems[1] = data.Systems[1], data.Systems[0]
	}
	var b bytes.Buffer
	if err := formulaText.Execute(&b, data); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(r.out, r.Name+".rb"), b.Bytes(), 0o644) //nolint:gosec // nothing secret in it
}

// bill lists what the program is made of, as it says itself, in the form of CycloneDX.
func bill(r *release) error {
	if r.gomod == nil {
		return nil
	}
	to := filepath.Join(r.out, fmt.Sprintf("%s_%s_sbom.cdx.json", r.Name, r.version))
	args := []string{"bin", "-json", "-std", "-noserial", "-version", "v" + r.version, "-output", to, r.binary(r.Platforms[0])}
	c := command(r.gomod[0], append(r.gomod[1:], args...)...)
	if out, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}
