package store

import (
	"io"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// memory is a file system that knows what a power cut would leave of it: the content of a file as
// it was last synced, under the names that its folder had when that was last synced.
type memory struct {
	mu   sync.Mutex
	root *node
}

// node is a file or a folder: what it is, and what of it is safe.
type node struct {
	folder        bool
	children      map[string]*node
	safeChildren  map[string]*node
	data          []byte
	safeData      []byte
	modified      time.Time
	syncedForGood bool // the data was synced after its last change
}

func newFolder() *node {
	return &node{folder: true, children: map[string]*node{}, safeChildren: map[string]*node{}}
}

func newMemory() *memory { return &memory{root: newFolder()} }

// find returns the node of a path, or nil.
func (m *memory) find(path string) *node {
	n := m.root
	for _, name := range strings.Split(strings.Trim(path, "/"), "/") {
		if n == nil || name == "" {
			return n
		}
		n = n.children[name]
	}
	return n
}

func (m *memory) MkdirAll(path string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := m.root
	for _, name := range strings.Split(strings.Trim(path, "/"), "/") {
		if n.children[name] == nil {
			n.children[name] = newFolder()
		}
		n = n.children[name]
	}
	return nil
}

func (m *memory) ReadDir(path string) ([]fs.DirEntry, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := m.find(path)
	if n == nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: syscall.ENOENT}
	}
	var list []fs.DirEntry
	for _, name := range slices.Sorted(maps.Keys(n.children)) {
		list = append(list, fs.FileInfoToDirEntry(n.children[name].info(name)))
	}
	return list, nil
}

func (m *memory) Open(path string) (file, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := m.find(path)
	if n == nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: syscall.ENOENT}
	}
	return &memoryFile{m, n, filepath.Base(path)}, nil
}

func (m *memory) Create(path string) (file, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	folder, name := m.find(filepath.Dir(path)), filepath.Base(path)
	if folder == nil {
		return nil, &fs.PathError{Op: "create", Path: path, Err: syscall.ENOENT}
	}
	n := folder.children[name]
	if n == nil {
		n = &node{}
		folder.children[name] = n
	}
	n.data, n.syncedForGood, n.modified = nil, false, time.Now()
	return &memoryFile{m, n, name}, nil
}

func (m *memory) Rename(from, to string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	n, target := m.find(from), m.find(filepath.Dir(to))
	if n == nil || target == nil {
		return &fs.PathError{Op: "rename", Path: from, Err: syscall.ENOENT}
	}
	delete(m.find(filepath.Dir(from)).children, filepath.Base(from))
	target.children[filepath.Base(to)] = n
	return nil
}

func (m *memory) Remove(path string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.find(path) == nil {
		return &fs.PathError{Op: "remove", Path: path, Err: syscall.ENOENT}
	}
	delete(m.find(filepath.Dir(path)).children, filepath.Base(path))
	return nil
}

func (m *memory) SetTime(path string, t time.Time) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := m.find(path)
	if n == nil {
		return &fs.PathError{Op: "chtimes", Path: path, Err: syscall.ENOENT}
	}
	n.modified = t
	return nil
}

func (m *memory) SyncFolder(path string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if n := m.find(path); n != nil {
		n.safeChildren = maps.Clone(n.children)
	}
	return nil
}

// powerCut says what of the unsafe is lost.
type powerCut struct {
	names func() bool                      // whether a folder has its names as of its last sync
	data  func(safe, latest []byte) []byte // what a file holds that was not synced
}

// after returns what is there when the power is back.
func (m *memory) after(cut powerCut) *memory {
	m.mu.Lock()
	defer m.mu.Unlock()
	return &memory{root: m.root.after(cut)}
}

func (n *node) after(cut powerCut) *node {
	if !n.folder {
		left := &node{data: n.data, modified: n.modified, syncedForGood: true}
		if !n.syncedForGood {
			left.data = cut.data(n.safeData, n.data)
		}
		left.data = slices.Clone(left.data)
		left.safeData = left.data
		return left
	}
	left, names := newFolder(), n.children
	if cut.names() {
		names = n.safeChildren
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		left.children[name] = names[name].after(cut)
	}
	left.safeChildren = maps.Clone(left.children)
	return left
}

// put and get are for the tests themselves.
func (m *memory) put(path string, b []byte) {
	f, err := m.Create(path)
	must(err)
	_, err = f.Write(b)
	must(err)
}

func (m *memory) get(path string) []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.find(path).data)
}

// syncAbove makes the folders above one safe, which are not the store's to sync.
func (m *memory) syncAbove(dir string) {
	for dir != "/" {
		dir = filepath.Dir(dir)
		must(m.SyncFolder(dir))
	}
}

type memoryFile struct {
	m    *memory
	n    *node
	name string
}

func (f *memoryFile) Write(b []byte) (int, error) {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	f.n.data, f.n.syncedForGood = append(f.n.data, b...), false
	return len(b), nil
}

func (f *memoryFile) ReadAt(b []byte, at int64) (int, error) {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if at >= int64(len(f.n.data)) {
		return 0, io.EOF
	}
	n := copy(b, f.n.data[at:])
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

func (f *memoryFile) Sync() error {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	f.n.safeData, f.n.syncedForGood = slices.Clone(f.n.data), true
	return nil
}

func (f *memoryFile) Close() error { return nil }

func (f *memoryFile) Stat() (fs.FileInfo, error) {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	return f.n.info(f.name), nil
}

func (n *node) info(name string) fs.FileInfo {
	i := memoryInfo{name: name, size: int64(len(n.data)), modified: n.modified, mode: fileMode}
	if n.folder {
		i.mode = fs.ModeDir | folderMode
	}
	return i
}

type memoryInfo struct {
	name     string
	size     int64
	mode     fs.FileMode
	modified time.Time
}

func (i memoryInfo) Name() string       { return i.name }
func (i memoryInfo) Size() int64        { return i.size }
func (i memoryInfo) Mode() fs.FileMode  { return i.mode }
func (i memoryInfo) ModTime() time.Time { return i.modified }
func (i memoryInfo) IsDir() bool        { return i.mode.IsDir() }
func (i memoryInfo) Sys() any           { return nil }

func must(err error) {
	if err != nil {
		panic(err)
	}
}
