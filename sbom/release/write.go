package release

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Names of a release's files.
const (
	SumsFile       = "SHA256SUMS"
	ProvenanceFile = "provenance.dsse.json"
	sbomSuffix     = ".cdx.json"
	sealedSuffix   = ".cdx.dsse.json"
)

// SBOMName is the list's file beside a binary's, SealedName its signed form's.
func SBOMName(binary string) string   { return binary + sbomSuffix }
func SealedName(binary string) string { return binary + sealedSuffix }

// Write signs the folder's files: each list (binary.cdx.json) as a statement about its
// binary, then the sums of all files, then where they come from.
func Write(dir string, key ed25519.PrivateKey, provenance Provenance) error {
	names, err := regularFiles(dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		if binary, ok := strings.CutSuffix(name, sbomSuffix); ok {
			if err := writeSealedSBOM(dir, binary, key); err != nil {
				return err
			}
		}
	}
	subjects, err := writeSums(dir)
	if err != nil {
		return err
	}
	statement, err := newStatement(predicateSLSA, provenance, subjects)
	if err != nil {
		return err
	}
	return writeSealed(filepath.Join(dir, ProvenanceFile), statement, key)
}

func writeSealedSBOM(dir, binary string, key ed25519.PrivateKey) error {
	list, err := os.ReadFile(filepath.Join(dir, SBOMName(binary)))
	if err != nil {
		return err
	}
	sum, err := hashFile(filepath.Join(dir, binary))
	if err != nil {
		return fmt.Errorf("%s is the SBOM of no file: %w", SBOMName(binary), err)
	}
	statement, err := newStatement(predicateCycloneDX, json.RawMessage(list), []Subject{subject(binary, sum)})
	if err != nil {
		return err
	}
	return writeSealed(filepath.Join(dir, SealedName(binary)), statement, key)
}

func writeSealed(path string, statement []byte, key ed25519.PrivateKey) error {
	b, err := seal(statement, key)
	if err != nil {
		return err
	}
	return os.WriteFile(path, b, 0o644)
}

// writeSums writes SHA256SUMS and returns every file, itself with it, as subjects.
func writeSums(dir string) ([]Subject, error) {
	names, err := regularFiles(dir)
	if err != nil {
		return nil, err
	}
	var subjects []Subject
	var sums strings.Builder
	for _, name := range names {
		if name == SumsFile || name == ProvenanceFile {
			continue
		}
		sum, err := hashFile(filepath.Join(dir, name))
		if err != nil {
			return nil, err
		}
		subjects = append(subjects, subject(name, sum))
		fmt.Fprintf(&sums, "%s  %s\n", sum, name)
	}
	if err := os.WriteFile(filepath.Join(dir, SumsFile), []byte(sums.String()), 0o644); err != nil {
		return nil, err
	}
	own := sha256.Sum256([]byte(sums.String()))
	return append(subjects, subject(SumsFile, hex.EncodeToString(own[:]))), nil
}

func subject(name, sum string) Subject {
	return Subject{Name: name, Digest: map[string]string{"sha256": sum}}
}

// regularFiles lists a folder, in which nothing else may be.
func regularFiles(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if !e.Type().IsRegular() {
			return nil, fmt.Errorf("%s is no regular file: a release holds nothing else", filepath.Join(dir, e.Name()))
		}
		names = append(names, e.Name())
	}
	slices.Sort(names)
	return names, nil
}

func hashFile(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", fmt.Errorf("cannot read %s: %w", path, err)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
