package main

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"debug/buildinfo"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/semantic-pod/semantic/logchain"
	"github.com/semantic-pod/semantic/sbom"
	"github.com/semantic-pod/semantic/sbom/release"
)

type distCmd struct {
	Root    string `default:"." help:"Folder of the sources."`
	Out     string `default:"dist" help:"Folder to write, emptied before."`
	Version string `help:"Version of the release; without, the one that Go derives from the commit."`
	Key     string `required:"" help:"PEM file of the Ed25519 private key that signs."`
	NewKey  bool   `help:"Make the key, and its public half beside it, if it is not there: for trying it out."`
}

func (c *distCmd) Run() error {
	root, err := filepath.Abs(c.Root)
	if err != nil {
		return err
	}
	out, err := filepath.Abs(c.Out)
	if err != nil {
		return err
	}
	key, err := c.signingKey()
	if err != nil {
		return err
	}
	if err := os.RemoveAll(out); err != nil {
		return err
	}
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	var built []*artifact
	for _, platform := range platforms {
		a, err := buildOne(root, out, platform, c.Version)
		if err != nil {
			return err
		}
		built = append(built, a)
	}
	if err := copyTexts(root, out); err != nil {
		return err
	}
	if err := release.Write(out, key, provenance(built)); err != nil {
		return err
	}
	if err := checkRelease(root, built[0].build); err != nil {
		return err
	}
	fmt.Printf("%s holds %s for %s\n", c.Out, built[0].build.Version, strings.Join(platforms, " and "))
	return nil
}

// signingKey reads the key, or makes one.
func (c *distCmd) signingKey() (ed25519.PrivateKey, error) {
	key, err := logchain.ReadPrivateKey(c.Key)
	if err == nil || !c.NewKey || !errors.Is(err, fs.ErrNotExist) {
		return key, err
	}
	pub, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	public, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		return nil, err
	}
	publicFile := strings.TrimSuffix(c.Key, ".pem") + ".pub.pem"
	if err := os.MkdirAll(filepath.Dir(c.Key), 0o755); err != nil {
		return nil, err
	}
	if err := os.WriteFile(publicFile, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public}), 0o644); err != nil {
		return nil, err
	}
	fmt.Printf("made a key to try it out: %s; give a release one of yours with DIST_KEY\n", c.Key)
	return key, os.WriteFile(c.Key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), 0o600)
}

// artifact is one platform's binary.
type artifact struct {
	name, path string
	build      sbom.Build
	info       *debug.BuildInfo
}

// buildOne builds a binary and writes what it is made of beside it.
func buildOne(root, out, platform, version string) (*artifact, error) {
	a := &artifact{name: "semantic_" + strings.ReplaceAll(platform, "/", "_")}
	a.path = filepath.Join(out, a.name)
	ldflags := "-s -w -X " + sbom.Module + "/telemetry.version=" + version
	if _, err := runTool(root, platform, "go", "build", "-trimpath", "-buildvcs=auto", "-ldflags", ldflags, "-o", a.path, mainPackage); err != nil {
		return nil, err
	}
	var err error
	if a.info, err = buildinfo.ReadFile(a.path); err != nil {
		return nil, err
	}
	if a.build, err = sbom.BuildOf(a.info, version); err != nil {
		return nil, err
	}
	if a.build.Time, err = timeOf(root, a.build.Time); err != nil {
		return nil, err
	}
	return a, a.describe(root, platform)
}

// timeOf is SOURCE_DATE_EPOCH, or else the time of the commit, as the binary or git has it:
// never the clock's, which would make two equal builds differ.
func timeOf(root string, stamped time.Time) (time.Time, error) {
	epoch := os.Getenv("SOURCE_DATE_EPOCH")
	if epoch == "" && !stamped.IsZero() {
		return stamped, nil
	}
	if epoch == "" {
		out, err := runTool(root, platforms[0], "git", "log", "-1", "--format=%ct")
		if err != nil {
			return stamped, fmt.Errorf("cannot tell the time of the sources; set SOURCE_DATE_EPOCH: %w", err)
		}
		epoch = strings.TrimSpace(string(out))
	}
	seconds, err := strconv.ParseInt(epoch, 10, 64)
	if err != nil {
		return stamped, fmt.Errorf("SOURCE_DATE_EPOCH=%q is no number of seconds: %w", epoch, err)
	}
	return time.Unix(seconds, 0).UTC(), nil
}

// describe writes the release's list: that of the binary, with the hash of the binary and
// of the source files that are no Go.
func (a *artifact) describe(root, platform string) error {
	bom, err := sbom.Describe(a.build)
	if err != nil {
		return err
	}
	if diff := sbom.Compare(bom, a.build.Go, sbom.LinkedModules(a.info)); len(diff) > 0 {
		return fmt.Errorf("%s is not what sbom/components.json says; run: make notice\n%s", a.name, strings.Join(diff, "\n"))
	}
	if err := addFiles(bom, root, platform, a); err != nil {
		return err
	}
	for form, suffix := range map[sbom.Form]string{sbom.JSON: ".cdx.json", sbom.XML: ".cdx.xml", sbom.SPDX: ".spdx.json"} {
		b, err := sbom.Encode(bom, form)
		if err != nil {
			return err
		}
		if err := os.WriteFile(a.path+suffix, b, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// copyTexts copies what a user must be given with the binary.
func copyTexts(root, out string) error {
	for from, to := range map[string]string{"LICENSE": "LICENSE", "sbom/NOTICE": "NOTICE", "CHANGELOG.md": "CHANGELOG.md"} {
		b, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(from)))
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(out, to), b, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// provenance says from what the binaries were built.
func provenance(built []*artifact) release.Provenance {
	b := built[0].build
	source := release.Resource{URI: "git+https://" + sbom.Module, Annotations: map[string]any{"modified": b.Modified}}
	if b.Commit != sbom.Unknown {
		source.Digest = map[string]string{"gitCommit": b.Commit}
	}
	resolved := []release.Resource{source, {URI: "pkg:golang/std@" + strings.TrimPrefix(b.Go, "go")}}
	seen := map[string]bool{}
	for _, a := range built {
		for _, m := range sbom.LinkedModules(a.info) {
			uri := "pkg:golang/" + m.Path + "@" + m.Version
			if !seen[uri] {
				resolved = append(resolved, release.Resource{URI: uri, Annotations: map[string]any{"h1": m.Sum}})
			}
			seen[uri] = true
		}
	}
	return release.NewProvenance(
		map[string]any{"target": "make dist", "version": b.Version, "platforms": platforms},
		map[string]any{"go": b.Go, "CGO_ENABLED": "0", "flags": "-trimpath -buildvcs=auto -ldflags '-s -w'"},
		resolved)
}
