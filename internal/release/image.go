package main

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

// The types of the image specification.
const (
	indexType    = "application/vnd.oci.image.index.v1+json"
	manifestType = "application/vnd.oci.image.manifest.v1+json"
	configType   = "application/vnd.oci.image.config.v1+json"
	layerType    = "application/vnd.oci.image.layer.v1.tar+gzip"
)

// descriptor points at a blob.
type descriptor struct {
	MediaType   string            `json:"mediaType"`
	Digest      string            `json:"digest"`
	Size        int               `json:"size"`
	Platform    *platformOf       `json:"platform,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

type platformOf struct {
	Architecture string `json:"architecture"`
	OS           string `json:"os"`
}

// layout is an image in the layout of the specification, as one tar file.
type layout struct {
	blobs map[string][]byte
}

func (l *layout) add(mediaType string, content []byte) descriptor {
	digest := digestOf(content)
	l.blobs[digest] = content
	return descriptor{MediaType: mediaType, Digest: digest, Size: len(content)}
}

func digestOf(content []byte) string {
	sum := sha256.Sum256(content)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// image writes one image for all Linux platforms. It has no shell and no other program;
// nothing in it is writable but /tmp, /work and /var/lib/stetl, which are for volumes: a
// new volume takes its owner from the folder in the image.
func image(r *release) error {
	l := &layout{blobs: map[string][]byte{}}
	var manifests []descriptor
	for _, platform := range r.Platforms {
		goos, arch, _ := strings.Cut(platform, "/")
		if goos != "linux" {
			continue
		}
		d, err := imageOf(r, l, platform, arch)
		if err != nil {
			return err
		}
		d.Platform = &platformOf{arch, goos}
		manifests = append(manifests, d)
	}
	if len(manifests) == 0 {
		return nil
	}
	index := l.add(indexType, encoded(map[string]any{"schemaVersion": 2, "mediaType": indexType, "manifests": manifests}))
	index.Annotations = map[string]string{"org.opencontainers.image.ref.name": r.version, "io.containerd.image.name": r.Name + ":" + r.version}
	all := []entry{
		{name: "oci-layout", text: []byte(`{"imageLayoutVersion":"1.0.0"}`), mode: 0o644},
		{name: "index.json", text: encoded(map[string]any{"schemaVersion": 2, "mediaType": indexType, "manifests": []descriptor{index}}), mode: 0o644},
	}
	for digest, content := range l.blobs {
		all = append(all, entry{name: "blobs/" + strings.ReplaceAll(digest, ":", "/"), text: content, mode: 0o644})
	}
	slices.SortFunc(all, func(a, b entry) int { return strings.Compare(a.name, b.name) })
	return toFile(filepath.Join(r.out, fmt.Sprintf("%s_%s_image.tar", r.Name, r.version)), func(w io.Writer) error { return writeTar(w, all, r.when) })
}

// imageOf adds the image of one platform.
func imageOf(r *release, l *layout, platform, arch string) (descriptor, error) {
	jar := filepath.Join(r.work, "jar")
	if err := os.MkdirAll(jar, 0o755); err != nil { //nolint:gosec // nothing secret in it
		return descriptor{}, err
	}
	if out, err := command(r.binary(runtime.GOOS+"/"+runtime.GOARCH), "plugin", "assets", "keycloak", "--out", jar).CombinedOutput(); err != nil {
		return descriptor{}, fmt.Errorf("the provider for Keycloak: %w: %s", err, out)
	}
	jars, err := filepath.Glob(filepath.Join(jar, "*.jar"))
	if err != nil || len(jars) != 1 {
		return descriptor{}, fmt.Errorf("the provider for Keycloak: %d files, %w", len(jars), err)
	}
	user := fmt.Sprint(r.ImageUser)
	files := []entry{
		{name: "etc", mode: fs.ModeDir | 0o755},
		{name: "etc/ssl", mode: fs.ModeDir | 0o755},
		{name: "etc/ssl/certs", mode: fs.ModeDir | 0o755},
		{name: "etc/ssl/certs/ca-certificates.crt", from: r.roots, mode: 0o644},
		{name: "etc/passwd", text: []byte("root:x:0:0:root:/:/sbin/nologin\nstetl:x:" + user + ":" + user + ":stetl:/work:/sbin/nologin\n"), mode: 0o644},
		{name: "etc/group", text: []byte("root:x:0:\nstetl:x:" + user + ":\n"), mode: 0o644},
		{name: "tmp", mode: fs.ModeDir | fs.ModeSticky | 0o777},
		{name: "usr", mode: fs.ModeDir | 0o755},
		{name: "usr/bin", mode: fs.ModeDir | 0o755},
		{name: "usr/bin/" + r.Command, from: r.binary(platform), mode: 0o755},
		{name: "usr/share", mode: fs.ModeDir | 0o755},
		{name: "usr/share/" + r.Name, mode: fs.ModeDir | 0o755},
		{name: "usr/share/" + r.Name + "/LICENSE", from: "LICENSE", mode: 0o644},
		{name: "usr/share/" + r.Name + "/LICENSES-OF-DEPENDENCIES.txt", from: filepath.Join(r.work, "papers", "LICENSES-OF-DEPENDENCIES.txt"), mode: 0o644},
		{name: "usr/share/" + r.Name + "/" + filepath.Base(jars[0]), from: jars[0], mode: 0o644},
		{name: "var", mode: fs.ModeDir | 0o755},
		{name: "var/lib", mode: fs.ModeDir | 0o755},
		{name: "var/lib/stetl", mode: fs.ModeDir | 0o750, user: r.ImageUser},
		{name: "work", mode: fs.ModeDir | 0o750, user: r.ImageUser},
	}
	var plain, packed bytes.Buffer
	if err := writeTar(&plain, files, r.when); err != nil {
		return descriptor{}, err
	}
	z, err := gzip.NewWriterLevel(&packed, gzip.BestCompression)
	if err != nil {
		return descriptor{}, err
	}
	if _, err := z.Write(plain.Bytes()); err != nil {
		return descriptor{}, err
	}
	if err := z.Close(); err != nil {
		return descriptor{}, err
	}
	created := r.when.Format(time.RFC3339)
	layer := l.add(layerType, packed.Bytes())
	config := l.add(configType, encoded(map[string]any{
		"created": created, "architecture": arch, "os": "linux",
		"config": map[string]any{
			"User": user + ":" + user, "WorkingDir": "/work", "Entrypoint": []string{"/usr/bin/" + r.Command},
			"Env": []string{"PATH=/usr/bin", "HOME=/work", "SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt", "TMPDIR=/tmp"},
			"Labels": map[string]string{
				"org.opencontainers.image.title": r.Name, "org.opencontainers.image.version": r.version, "org.opencontainers.image.licenses": r.License,
				"org.opencontainers.image.source": r.Homepage, "org.opencontainers.image.description": r.Summary,
			},
		},
		"rootfs":  map[string]any{"type": "layers", "diff_ids": []string{digestOf(plain.Bytes())}},
		"history": []map[string]any{{"created": created, "created_by": "release"}},
	}))
	return l.add(manifestType, encoded(map[string]any{"schemaVersion": 2, "mediaType": manifestType, "config": config, "layers": []descriptor{layer}})), nil
}

// encoded is a value as JSON; maps are in the order of their keys.
func encoded(v any) []byte {
	raw, err := json.Marshal(v)
	if err != nil {
		panic(err) // texts and numbers
	}
	return raw
}
