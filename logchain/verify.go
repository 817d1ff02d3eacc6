package logchain

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// Expect is what a verification holds a folder against, beside its own manifest.
type Expect struct {
	Head *Head               // noted outside of the volume; nil if none was
	Keys []ed25519.PublicKey // one of which signed each entry from the first signed one on; none: signatures are not looked at
}

// Report is what a verification found.
type Report struct {
	Head    Head
	Files   int // that are listed, and there and as they were
	Removed int // by retention
	Shipped int
	Signed  uint64  // entries with a good signature
	Faults  []Fault // in the order of the entries; none: all is proved
	Notices []string
}

// Fault names a file that is not what the manifest says, or an entry of the manifest.
type Fault struct {
	Entry uint64 // 0: of no entry
	Name  string // "" if it cannot be told
	What  string // begins with removed, reordered, edited or added
}

func (f Fault) String() string {
	name := cmp.Or(f.Name, "a file whose name cannot be told")
	if f.Entry == 0 {
		return name + ": " + f.What
	}
	return fmt.Sprintf("%s (entry %d): %s", name, f.Entry, f.What)
}

// Verify holds the files of a folder against its manifest, the manifest against
// itself, and both against what is expected. The sidecar may be at work there.
func Verify(ctx context.Context, dir string, expect Expect) (Report, error) {
	there, err := listArchives(dir) // before the manifest, whose entries come before the files go
	if err != nil {
		return Report{}, err
	}
	r, err := readManifest(dir, expect)
	if err != nil {
		return Report{}, err
	}
	v := &verifier{dir: dir, record: r, report: Report{Head: r.head, Removed: len(r.gone), Shipped: r.shipped, Signed: r.signed}}
	v.faults(r.faults...)
	if err := v.checkFiles(ctx); err != nil {
		return Report{}, err
	}
	if err := v.forgiveRemoved(expect); err != nil {
		return Report{}, err
	}
	v.checkUnlisted(there)
	v.checkSequence()
	v.checkErrors()
	if len(expect.Keys) == 0 && r.signatures > 0 {
		v.notice("%d entries are signed; the signatures were not checked, since no key was given", r.signatures)
	}
	slices.SortStableFunc(v.report.Faults, func(a, b Fault) int { return cmp.Compare(a.Entry-1, b.Entry-1) }) // 0 goes last
	return v.report, nil
}

// record is a manifest as it was read.
type record struct {
	head       Head
	broken     bool     // nothing after the break is believed,
	claimed    claims   // but this is said there
	entries    []*Entry // of kind file
	gone       map[string]*Entry
	shipped    int
	signed     uint64
	signatures uint64
	faults     []Fault
}

// claims are what the lines after a break say. It proves nothing, but keeps one
// break from being told as many.
type claims struct {
	files, gone map[string]bool
}

func (c claims) add(line []byte) {
	e, err := parseEntry(line)
	switch {
	case err != nil:
	case e.Kind == Archived:
		c.files[e.Name] = true
	case e.Kind == Tombstone:
		c.gone[e.Name] = true
	}
}

// readManifest reads up to the first line that does not follow.
func readManifest(dir string, expect Expect) (*record, error) {
	f, err := os.Open(filepath.Join(dir, FileName))
	if err != nil {
		return nil, fmt.Errorf("cannot read the manifest: %w", err)
	}
	defer f.Close()
	r := &record{gone: map[string]*Entry{}, claimed: claims{files: map[string]bool{}, gone: map[string]bool{}}}
	c := newChain()
	var before *Entry
	torn, err := readLines(f, func(line []byte) error {
		if r.broken {
			r.claimed.add(line)
			return nil
		}
		e, flaw := c.next(line)
		if flaw != nil {
			r.broken = true
			r.claimed.add(line)
			fault, err := explain(f.Name(), line, e, before, flaw)
			r.faults = append(r.faults, fault)
			return err
		}
		r.head = c.head
		r.add(e, expect)
		before = e
		return nil
	})
	if err != nil {
		return nil, err
	}
	if torn > 0 && !r.broken {
		r.faults = append(r.faults, Fault{c.lines + 1, FileName, "edited: its last line has no end (or its entry is being written at this moment)"})
	}
	r.checkHead(expect)
	if len(expect.Keys) > 0 && r.signatures == 0 {
		r.faults = append(r.faults, Fault{1, FileName, "edited: a key was given and no entry is signed"})
	}
	return r, nil
}

func (r *record) add(e *Entry, expect Expect) {
	switch e.Kind {
	case Archived:
		r.entries = append(r.entries, e)
	case Tombstone:
		r.gone[e.Name] = e
	case Shipped:
		r.shipped++
	}
	if e.Sig != "" {
		r.signatures++
	}
	switch {
	case len(expect.Keys) == 0 || e.Sig == "" && r.signatures == 0:
	case e.Sig == "":
		r.faults = append(r.faults, Fault{e.N, e.Name, "edited: its entry is not signed, though earlier ones are"})
	case !e.signedBy(expect.Keys):
		r.faults = append(r.faults, Fault{e.N, e.Name, "edited: its entry's signature is not of the key given"})
	default:
		r.signed++
	}
	if h := expect.Head; h != nil && r.head.Count == h.Count && !r.head.matches(*h) {
		r.faults = append(r.faults, Fault{e.N, e.Name, fmt.Sprintf("edited: entry %d has hash %s, not the one that was noted; it or an earlier one was changed and the chain made anew", h.Count, r.head.Hash)})
	}
}

func (r *record) checkHead(expect Expect) {
	if h := expect.Head; h != nil && r.head.Count < h.Count && !r.broken {
		r.faults = append(r.faults, Fault{r.head.Count + 1, "", fmt.Sprintf("removed: the manifest ends with entry %d, and entry %d was noted; its tail was cut", r.head.Count, h.Count)})
	}
}

var nameInLine = regexp.MustCompile(`"name":"([^"]*)"`)

// explain says what was done to the manifest where a line does not follow.
func explain(path string, line []byte, e, before *Entry, flaw *Break) (Fault, error) {
	if e == nil {
		fault := Fault{Entry: flaw.Line, What: "edited: " + flaw.Error()}
		if m := nameInLine.FindSubmatch(line); m != nil {
			fault.Name = string(m[1])
		}
		return fault, nil
	}
	due := uint64(1)
	if before != nil {
		due = before.N + 1
	}
	if e.N == due {
		if before == nil {
			return Fault{e.N, e.Name, "removed: " + flaw.Error()}, nil
		}
		return Fault{before.N, before.Name, fmt.Sprintf("edited: its entry is not the one after which entry %d was written", e.N)}, nil
	}
	moved, err := findEntry(path, due)
	if err != nil || moved == nil {
		return Fault{due, "", fmt.Sprintf("removed: entries %d to %d are not in the manifest", due, max(due, e.N-1))}, err
	}
	return Fault{due, moved.Name, "reordered: " + flaw.Error()}, nil
}

// findEntry looks for an entry by its number.
func findEntry(path string, n uint64) (found *Entry, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	_, err = readLines(f, func(line []byte) error {
		if e, err := parseEntry(line); err == nil && e.N == n {
			found = e
		}
		return nil
	})
	return found, err
}

// listArchives lists the compressed files of the folder beside which there is no
// plain one: those are still being made.
func listArchives(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	names := map[string]bool{}
	for _, e := range entries {
		names[e.Name()] = true
	}
	var list []string
	for name := range names {
		if n, ok := ParseName(name); ok && n.Suffix == ArchiveSuffix && !names[strings.TrimSuffix(name, ArchiveSuffix)] {
			list = append(list, name)
		}
	}
	slices.Sort(list)
	return list, nil
}

// isMissing reports whether an error says that there is no such file.
func isMissing(err error) bool { return errors.Is(err, fs.ErrNotExist) }
