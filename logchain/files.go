package logchain

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/klauspost/compress/zstd"
)

// MaxWindow bounds what decompressing a file takes of memory; a frame is no longer.
const MaxWindow = 8 << 20

type verifier struct {
	dir    string
	record *record
	report Report
}

func (v *verifier) faults(f ...Fault) { v.report.Faults = append(v.report.Faults, f...) }

func (v *verifier) notice(format string, args ...any) {
	v.report.Notices = append(v.report.Notices, fmt.Sprintf(format, args...))
}

// checkFiles looks at every file that is listed. One with a tombstone may be gone.
func (v *verifier) checkFiles(ctx context.Context) error {
	latest := map[string]*Entry{}
	for _, e := range v.record.entries {
		if first := latest[e.Name]; first != nil && first.SHA256 != e.SHA256 {
			v.faults(Fault{e.N, e.Name, fmt.Sprintf("edited: entry %d says something else of it", first.N)})
		}
		latest[e.Name] = e
	}
	for _, e := range v.record.entries {
		if latest[e.Name] != e {
			continue
		}
		what, err := v.checkFile(ctx, e)
		switch {
		case isMissing(err) && (v.record.gone[e.Name] != nil || v.record.claimed.gone[e.Name]):
		case isMissing(err):
			v.faults(Fault{e.N, e.Name, removed})
		case err != nil:
			return fmt.Errorf("cannot verify %s: %w", e.Name, err)
		case what != "":
			v.faults(Fault{e.N, e.Name, what})
		default:
			v.report.Files++
			if e.Adopted {
				v.notice("%s was found without an entry and listed as it was then (entry %d)", e.Name, e.N)
			}
		}
	}
	return nil
}

const removed = "removed: it is not in the folder, and no tombstone says why"

// checkFile says what is wrong with a file, "" if nothing is.
func (v *verifier) checkFile(ctx context.Context, e *Entry) (string, error) {
	f, err := os.Open(filepath.Join(v.dir, e.Name))
	if err != nil {
		return "", err
	}
	defer f.Close()
	stored := NewSurvey(nil)
	if _, err := copyUntil(ctx, stored, f); err != nil {
		return "", err
	}
	got := stored.File()
	if e.ZstSHA256 == "" {
		return v.compare(e, got.SHA256, e.SHA256), nil
	}
	if what := v.compare(e, got.SHA256, e.ZstSHA256); what != "" {
		return what, nil
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return "", err
	}
	dec, err := zstd.NewReader(f, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(MaxWindow))
	if err != nil {
		return "", err
	}
	defer dec.Close()
	said := NewSurvey(nil)
	if _, err := copyUntil(ctx, said, dec); err != nil {
		if ctx.Err() != nil {
			return "", err
		}
		return "edited: it cannot be decompressed: " + err.Error(), nil
	}
	if got := said.File(); got.SHA256 != e.SHA256 || got.Size != e.Size || got.Lines != e.Lines {
		return "edited: its entry says something else of what is in it", nil
	}
	return "", nil
}

// compare finds out where the content of a file that was changed comes from.
func (v *verifier) compare(e *Entry, got, want string) string {
	if got == want {
		return ""
	}
	at := slices.IndexFunc(v.record.entries, func(other *Entry) bool {
		return other.Name != e.Name && (other.ZstSHA256 == got || other.SHA256 == got)
	})
	if at >= 0 {
		return "reordered: it holds what belongs into " + v.record.entries[at].Name
	}
	return fmt.Sprintf("edited: its SHA-256 is %s, the manifest says %s", got, want)
}

// forgiveRemoved reads the manifest once more when files are missing: retention may
// have removed them since.
func (v *verifier) forgiveRemoved(expect Expect) error {
	if !slices.ContainsFunc(v.report.Faults, func(f Fault) bool { return f.What == removed }) {
		return nil
	}
	again, err := readManifest(v.dir, expect)
	if err != nil {
		return err
	}
	v.report.Faults = slices.DeleteFunc(v.report.Faults, func(f Fault) bool {
		return f.What == removed && again.gone[f.Name] != nil
	})
	return nil
}

// checkUnlisted looks for files that no entry speaks of.
func (v *verifier) checkUnlisted(there []string) {
	listed := map[string]bool{}
	for _, e := range v.record.entries {
		listed[e.Name] = true
	}
	for _, name := range there {
		if listed[name] || v.record.claimed.files[name] {
			continue
		}
		at := slices.IndexFunc(v.report.Faults, func(f Fault) bool { return f.Name == "" })
		if at >= 0 { // the entries that were taken out were of this one
			v.report.Faults[at].Name = name
			continue
		}
		v.faults(Fault{0, name, "added: no entry of the manifest speaks of it (or its entry was cut off)"})
	}
}

// checkSequence looks for gaps and doubles in the writers' own counts, from file to
// file of each log. Entries of removed files count too.
func (v *verifier) checkSequence() {
	byStamp := slices.Clone(v.record.entries)
	slices.SortStableFunc(byStamp, func(a, b *Entry) int { return strings.Compare(a.Name, b.Name) })
	type origin struct{ log, boot string }
	last := map[origin]*Writer{}
	begun := map[string]bool{}
	before := ""
	for _, e := range byStamp {
		n, ok := ParseName(e.Name)
		if !ok || HoldsErrors(n.Log) || e.Name == before {
			continue // files of error lines have gaps by nature
		}
		for i := range e.Writers {
			w, key := &e.Writers[i], origin{n.Log, e.Writers[i].Boot}
			expect := uint64(1)
			if l := last[key]; l != nil {
				expect = l.Last + 1
			} else if !begun[n.Log] {
				expect = w.First // the manifest may be younger than the writer
			}
			if w.First < expect {
				v.faults(Fault{e.N, e.Name, fmt.Sprintf("edited: it repeats lines of boot %s from line %d on", w.Boot, w.First)})
			} else if missing := w.Last + 1 - expect - w.Lines; missing > 0 {
				v.notice("%s: of lines %d to %d of boot %s %d are missing: its writer dropped them (and counted them), or they are lost", e.Name, expect, w.Last, w.Boot, missing)
			}
			last[key] = w
		}
		before, begun[n.Log] = e.Name, true
	}
}

// checkErrors holds each file of error lines against what the entries of the files
// that they came from say of its size.
func (v *verifier) checkErrors() {
	ends := map[string]int64{}
	for _, e := range v.record.entries {
		if e.ErrorsTo != "" {
			ends[e.ErrorsTo] = e.ErrorsEnd
		}
		if end, ok := ends[plainName(e.Name)]; ok && end != e.Size {
			v.faults(Fault{e.N, e.Name, fmt.Sprintf("edited: it has %d bytes of error lines, and %d were copied to it", e.Size, end)})
		}
	}
	for name, end := range ends {
		info, err := os.Stat(filepath.Join(v.dir, name))
		if err == nil && info.Size() < end {
			v.faults(Fault{0, name, fmt.Sprintf("edited: it has %d bytes of error lines, and %d were copied to it", info.Size(), end)})
		}
	}
}

// copyUntil copies until the end or ctx's.
func copyUntil(ctx context.Context, dst io.Writer, src io.Reader) (int64, error) {
	return io.Copy(dst, readerFunc(func(p []byte) (int, error) {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		return src.Read(p)
	}))
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// HashFile returns the SHA-256 and the size of a file.
func HashFile(ctx context.Context, path string) (string, int64, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", 0, err
	}
	defer f.Close()
	h := sha256.New()
	n, err := copyUntil(ctx, h, f)
	return hex.EncodeToString(h.Sum(nil)), n, err
}
