package logchain

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// reserveBytes of disk are set aside behind the manifest's end, so that a tombstone
// can be written, and room be made, when the disk is full.
const reserveBytes = 256 << 10

// Manifest is a manifest that this process alone continues. It may be used by
// several goroutines.
type Manifest struct {
	path string
	key  ed25519.PrivateKey // nil: entries are not signed
	host string

	mu    sync.Mutex
	f     *os.File
	size  int64 // of the whole lines in the file
	room  int64 // up to which the disk has blocks for the file
	torn  bool  // a piece of a line stands behind them
	chain chain
	index index
	flaw  error // how somebody else is seen to have changed it
}

// Open reads the manifest and makes ready to continue it; if there is none, it
// begins one. A manifest that somebody else changed is continued all the same, so
// that the change stays to be seen: Flaw tells of it.
func Open(path string, key ed25519.PrivateKey, now time.Time) (*Manifest, error) {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	m := &Manifest{path: path, key: key, host: host, chain: newChain(), index: newIndex()}
	if err := m.open(); err != nil {
		return nil, fmt.Errorf("cannot open the manifest: %w", err)
	}
	torn, err := readLines(io.NewSectionReader(m.f, 0, m.size), func(line []byte) error {
		e, flaw := m.chain.next(line)
		if flaw != nil && m.flaw == nil {
			m.flaw = flaw
		}
		if e != nil {
			m.index.add(e)
		}
		return nil
	})
	if err == nil && torn > 0 {
		m.size -= torn
		err = m.f.Truncate(m.size)
	}
	if err == nil && m.size == 0 {
		err = m.Append(Entry{Kind: Begin, Time: now, Name: filepath.Base(path), Host: host})
	}
	if err != nil {
		m.f.Close()
		return nil, fmt.Errorf("cannot open the manifest: %w", err)
	}
	m.reserve()
	return m, nil
}

// open opens the file at its end and puts its name onto the disk.
func (m *Manifest) open() error {
	f, err := os.OpenFile(m.path, os.O_RDWR|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is no regular file", m.path)
	}
	if err == nil {
		err = SyncFolder(filepath.Dir(m.path))
	}
	if err != nil {
		f.Close()
		return err
	}
	m.f, m.size, m.room = f, info.Size(), 0
	return nil
}

// Append adds an entry, whose place in the chain it fills in. When it returns nil
// the entry is on the disk; else it is not in the manifest.
func (m *Manifest) Append(e Entry) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.ready(); err != nil {
		return fmt.Errorf("cannot continue the manifest: %w", err)
	}
	e.N, e.Prev, e.Time = m.chain.head.Count+1, m.chain.head.Hash, e.Time.UTC().Round(0)
	if m.key != nil {
		if err := e.sign(m.key); err != nil {
			return err
		}
	}
	line, err := e.line()
	if err != nil {
		return err
	}
	if _, err = m.f.Write(line); err == nil {
		err = m.f.Sync()
	}
	if err != nil {
		m.torn = m.f.Truncate(m.size) != nil
		return fmt.Errorf("cannot continue the manifest: %w", err)
	}
	m.size += int64(len(line))
	added, flaw := m.chain.next(line)
	if flaw != nil {
		return fmt.Errorf("cannot continue the manifest: %w", flaw) // not seen: the line is of our own making
	}
	m.index.add(added)
	m.reserve()
	return nil
}

// ready cuts off what a failed write left, and opens the file anew if it is not as
// it was left. The chain goes on from what this process wrote: that entries are
// missing before the next one is what shows the change.
func (m *Manifest) ready() error {
	if m.torn {
		if err := m.f.Truncate(m.size); err != nil {
			return err
		}
		m.torn = false
	}
	ours, err := m.f.Stat()
	if err != nil {
		return err
	}
	at, err := os.Stat(m.path)
	if err == nil && os.SameFile(ours, at) && at.Size() == m.size {
		return nil
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if m.flaw == nil {
		m.flaw = errors.New("the manifest was changed by somebody else while it was being kept")
	}
	m.f.Close()
	if err := m.open(); err != nil {
		return err
	}
	return m.endLine()
}

// endLine ends a piece of a line that somebody else left, so that the next entry
// begins a line of its own.
func (m *Manifest) endLine() error {
	if m.size == 0 {
		return nil
	}
	var last [1]byte
	if _, err := m.f.ReadAt(last[:], m.size-1); err != nil || last[0] == '\n' {
		return err
	}
	n, err := m.f.Write([]byte("\n"))
	m.size += int64(n)
	return err
}

// reserve sets disk aside behind the end. A file system that cannot makes entries
// fail on a full disk, which is told then.
func (m *Manifest) reserve() {
	if m.room-m.size < reserveBytes/2 && unix.Fallocate(int(m.f.Fd()), unix.FALLOC_FL_KEEP_SIZE, 0, m.size+reserveBytes) == nil {
		m.room = m.size + reserveBytes
	}
}

// Close lets the file go.
func (m *Manifest) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.f.Close()
}

// SyncFolder puts the names in the folder onto the disk.
func SyncFolder(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
