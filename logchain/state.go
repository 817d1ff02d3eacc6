package logchain

import (
	"cmp"
	"io"
	"os"
	"slices"
	"time"
)

// Head returns the end of the chain.
func (m *Manifest) Head() Head {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.chain.head
}

// Flaw tells how somebody else is seen to have changed the manifest; nil if not.
func (m *Manifest) Flaw() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.flaw
}

// File returns the entry of a file that is listed and has no tombstone.
func (m *Manifest) File(name string) (Entry, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	e := m.index.files[name]
	if e == nil {
		return Entry{}, false
	}
	return *e, true
}

// Gone reports whether the file got a tombstone lately, so that its removal may
// have to be repeated.
func (m *Manifest) Gone(name string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Contains(m.index.gone, name)
}

// IsShipped reports whether the file is known to be in the object store.
func (m *Manifest) IsShipped(name string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.index.shipped[name]
}

// Unshipped lists the files that are not known to be in the object store, in the
// order of their entries.
func (m *Manifest) Unshipped() []Entry {
	m.mu.Lock()
	defer m.mu.Unlock()
	var list []Entry
	for name, e := range m.index.files {
		if !m.index.shipped[name] && e.ZstSHA256 != "" {
			list = append(list, *e)
		}
	}
	slices.SortFunc(list, func(a, b Entry) int { return cmp.Compare(a.N, b.N) })
	return list
}

// Stamp returns the stamp for a rotation of the log now. It sorts after onDisk, the
// highest one in the folder, after all that the manifest knows, and after the time
// at which the manifest began.
func (m *Manifest) Stamp(log, onDisk string, now time.Time) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return NextStamp(max(onDisk, m.index.stamps[log], Stamp(m.index.begun)), now)
}

// ErrorsEnd returns how much of a file of error lines the entries of their sources
// vouch for; what stands behind it was left by a crash. A file that is older than
// the manifest is not known.
func (m *Manifest) ErrorsEnd(name string) (end int64, known bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if end, ok := m.index.errorsEnd[name]; ok {
		return end, true
	}
	n, ok := ParseName(name)
	return 0, ok && n.Stamp > Stamp(m.index.begun)
}

// ReadFrom returns the manifest's lines from entry n on, up to the head; at most
// limit bytes of them unless the first line is longer.
func (m *Manifest) ReadFrom(n uint64, limit int) (lines []byte, last uint64, err error) {
	m.mu.Lock()
	size := m.size
	m.mu.Unlock()
	f, err := os.Open(m.path)
	if err != nil {
		return nil, 0, err
	}
	defer f.Close()
	at := uint64(0)
	last = n - 1
	_, err = readLines(io.NewSectionReader(f, 0, size), func(line []byte) error {
		at++
		if at == last+1 && (len(lines) == 0 || len(lines)+len(line) <= limit) {
			lines = append(lines, line...)
			last = at
		}
		return nil
	})
	return lines, last, err
}
