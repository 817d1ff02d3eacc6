package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"

	"github.com/semantic-pod/semantic/logchain"
	"github.com/semantic-pod/semantic/sbom/release"
)

// verifyCmd proves a release. It asks nobody: the key is all that must be trusted.
type verifyCmd struct {
	Dir string `arg:"" placeholder:"DIR" help:"Folder of the release."`
	Key string `name:"key" required:"" env:"-" placeholder:"FILE" help:"PEM file of the Ed25519 public key that signed it, from elsewhere than the folder."`
}

func (c *verifyCmd) Run(w *world) error {
	key, err := logchain.ReadPublicKey(c.Key)
	if err != nil {
		return usage(fmt.Errorf("cannot read --key=%s: %w", c.Key, err))
	}
	r, err := release.Verify(c.Dir, key)
	if err != nil {
		return fmt.Errorf("%s is not the release that was signed: %w", c.Dir, err)
	}
	external := r.Provenance.BuildDefinition.ExternalParameters
	fmt.Fprintf(w.stdout, "proved: %d files as they were signed with the key %.12s, version %v\n", r.Files, r.KeyID, external["version"])
	for _, d := range r.Provenance.BuildDefinition.ResolvedDependencies {
		if commit := d.Digest["gitCommit"]; commit != "" {
			fmt.Fprintf(w.stdout, "built from %s at %s\n", d.URI, commit)
		}
	}
	for _, name := range r.SBOMs {
		fmt.Fprintf(w.stdout, "SBOM: %s\n", name)
	}
	return nil
}

func hashFile(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", fmt.Errorf("cannot hash %s: %w", path, err)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
