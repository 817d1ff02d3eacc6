package release

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// maxEnvelope bounds what is read into memory of a folder that nobody vouches for yet.
const maxEnvelope = 64 << 20

// Report is what was proved.
type Report struct {
	Files      int // of the release, each with a signed hash
	SBOMs      []string
	KeyID      string
	Provenance Provenance
}

// Verify proves that the folder holds the files that were signed with the key, every
// byte of them, and nothing else.
func Verify(dir string, key ed25519.PublicKey) (*Report, error) {
	id, err := KeyID(key)
	if err != nil {
		return nil, err
	}
	r := &Report{KeyID: id}
	subjects, err := r.readProvenance(dir, key)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", ProvenanceFile, err)
	}
	if err := r.checkFiles(dir, subjects); err != nil {
		return nil, err
	}
	if err := checkSums(dir, subjects); err != nil {
		return nil, fmt.Errorf("%s: %w", SumsFile, err)
	}
	for name := range subjects {
		binary, ok := strings.CutSuffix(name, sealedSuffix)
		if !ok {
			continue
		}
		if err := checkSBOM(dir, binary, subjects, key); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		r.SBOMs = append(r.SBOMs, SBOMName(binary))
	}
	slices.Sort(r.SBOMs)
	return r, nil
}

// readProvenance returns the signed hash of each file.
func (r *Report) readProvenance(dir string, key ed25519.PublicKey) (map[string]string, error) {
	s, err := openSealed(filepath.Join(dir, ProvenanceFile), predicateSLSA, key)
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(s.Predicate, &r.Provenance); err != nil {
		return nil, fmt.Errorf("this is no SLSA provenance: %w", err)
	}
	subjects := map[string]string{}
	for _, sub := range s.Subject {
		if sub.Name != filepath.Base(sub.Name) || sub.Digest["sha256"] == "" || subjects[sub.Name] != "" {
			return nil, fmt.Errorf("the subject %q is no file of a release", sub.Name)
		}
		subjects[sub.Name] = sub.Digest["sha256"]
	}
	if subjects[SumsFile] == "" {
		return nil, fmt.Errorf("it says nothing of %s", SumsFile)
	}
	return subjects, nil
}

// checkFiles holds the folder's files against the signed hashes, both ways.
func (r *Report) checkFiles(dir string, subjects map[string]string) error {
	names, err := regularFiles(dir)
	if err != nil {
		return err
	}
	var errs []error
	for _, name := range names {
		want := subjects[name]
		if name == ProvenanceFile {
			continue
		}
		if want == "" {
			errs = append(errs, fmt.Errorf("%s was added: the provenance does not name it", name))
			continue
		}
		have, err := hashFile(filepath.Join(dir, name))
		if err == nil && have != want {
			err = fmt.Errorf("%s was changed: its SHA-256 is %s, %s was signed", name, have, want)
		}
		errs = append(errs, err)
		r.Files++
	}
	for name := range subjects {
		if !slices.Contains(names, name) {
			errs = append(errs, fmt.Errorf("%s is missing", name))
		}
	}
	return errors.Join(errs...)
}

// checkSums holds SHA256SUMS, which others check with sha256sum, against the signed hashes.
func checkSums(dir string, subjects map[string]string) error {
	b, err := readBounded(filepath.Join(dir, SumsFile))
	if err != nil {
		return err
	}
	lines := 0
	for line := range strings.Lines(string(b)) {
		sum, name, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "  ")
		if !ok || subjects[name] != sum {
			return fmt.Errorf("the line %q is not what was signed", line)
		}
		lines++
	}
	if lines != len(subjects)-1 {
		return fmt.Errorf("%d files are listed, %d were signed", lines, len(subjects)-1)
	}
	return nil
}

// checkSBOM holds a signed list against the plain one and against its binary.
func checkSBOM(dir, binary string, subjects map[string]string, key ed25519.PublicKey) error {
	s, err := openSealed(filepath.Join(dir, SealedName(binary)), predicateCycloneDX, key)
	if err != nil {
		return err
	}
	if len(s.Subject) != 1 || s.Subject[0].Name != binary || s.Subject[0].Digest["sha256"] != subjects[binary] {
		return fmt.Errorf("it is not about %s", binary)
	}
	plain, err := readBounded(filepath.Join(dir, SBOMName(binary)))
	if err != nil {
		return err
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, plain); err != nil {
		return fmt.Errorf("%s: %w", SBOMName(binary), err)
	}
	var signed bytes.Buffer
	json.HTMLEscape(&signed, compact.Bytes()) // as the statement was written
	if !bytes.Equal(signed.Bytes(), s.Predicate) {
		return fmt.Errorf("it does not hold what %s holds", SBOMName(binary))
	}
	return nil
}

func openSealed(path, predicateType string, key ed25519.PublicKey) (*Statement, error) {
	b, err := readBounded(path)
	if err != nil {
		return nil, err
	}
	payload, err := unseal(b, key)
	if err != nil {
		return nil, err
	}
	return parseStatement(payload, predicateType)
}

func readBounded(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxEnvelope+1))
	if err == nil && len(b) > maxEnvelope {
		err = fmt.Errorf("%s is larger than %d MiB", path, maxEnvelope>>20)
	}
	return b, err
}
