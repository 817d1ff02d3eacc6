package objectstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
)

// folder is a store in a file system, which several machines may mount. gocloud's own driver for
// one looks whether a file is there and then renames another onto it, which lets two writers both
// believe to be the first, and syncs nothing; a link of the file under its final name is made by
// one of them alone.
type folder struct {
	dir   string
	slots chan struct{} // calls under way, the stuck ones included
}

// maxCalls bounds what waits on a file system that does not answer.
const maxCalls = 32

// within makes a call that the system may keep for as long as it likes, as that to a network
// volume whose server is gone, and leaves it behind when ctx ends.
func within[T any](ctx context.Context, f folder, call func() (T, error)) (T, error) {
	type result struct {
		v   T
		err error
	}
	var none T
	select {
	case f.slots <- struct{}{}:
	case <-ctx.Done():
		return none, fmt.Errorf("the file system of %s keeps %d calls: %w", f.dir, maxCalls, context.Cause(ctx))
	}
	done := make(chan result, 1)
	go func() {
		defer func() { <-f.slots }()
		v, err := call()
		done <- result{v, err}
	}()
	select {
	case r := <-done:
		return r.v, r.err
	case <-ctx.Done():
		return none, fmt.Errorf("the file system of %s did not answer in time: %w", f.dir, context.Cause(ctx))
	}
}

// try is within for a call that has no result.
func (f folder) try(ctx context.Context, call func() error) error {
	_, err := within(ctx, f, func() (struct{}, error) { return struct{}{}, call() })
	return err
}

// unfinished ends the name of a file that is being written. A crash leaves it.
const unfinished = ".part"

func openFolder(u *url.URL) folder {
	return folder{slots: make(chan struct{}, maxCalls), dir: filepath.Join(filepath.FromSlash(u.Path), filepath.FromSlash(u.Query().Get("prefix")))}
}

func (f folder) path(key string) string { return filepath.Join(f.dir, filepath.FromSlash(key)) }

// Create writes under another name, syncs and links.
func (f folder) Create(ctx context.Context, key string, body io.Reader) error {
	return f.try(ctx, func() error { return f.create(ctx, key, body) })
}

func (f folder) create(ctx context.Context, key string, body io.Reader) error {
	if err := f.there(); err != nil {
		return err // no folder is made where the volume is not mounted
	}
	path := f.path(key)
	parent := filepath.Dir(path)
	part, err := f.write(ctx, parent, filepath.Base(path), body)
	if err != nil {
		return err
	}
	if err = context.Cause(ctx); err == nil { // who left does not want it any more
		err = os.Link(part, path)
	}
	_ = os.Remove(part) // a sweep finds it
	if errors.Is(err, fs.ErrExist) {
		return ErrExists
	}
	if err != nil {
		return err
	}
	return syncFolder(parent)
}

// write writes a synced file beside where it is to be. Its parent may be removed as it becomes
// empty, and is then made again.
func (f folder) write(ctx context.Context, parent, name string, body io.Reader) (string, error) {
	var file *os.File
	var err error
	for range 3 {
		if err = os.MkdirAll(parent, 0o700); err != nil {
			return "", err
		}
		if file, err = os.CreateTemp(parent, name+".*"+unfinished); !errors.Is(err, fs.ErrNotExist) {
			break
		}
	}
	if err != nil {
		return "", err
	}
	_, err = io.Copy(file, patient{ctx, body})
	if err == nil {
		err = file.Sync()
	}
	if err := errors.Join(err, file.Close()); err != nil {
		_ = os.Remove(file.Name())
		return "", err
	}
	return file.Name(), nil
}

// patient reads until a context ends.
type patient struct {
	ctx context.Context
	r   io.Reader
}

func (p patient) Read(b []byte) (int, error) {
	if err := context.Cause(p.ctx); err != nil {
		return 0, err
	}
	return p.r.Read(b)
}

func syncFolder(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func (f folder) Open(ctx context.Context, key string, at, length int64) (io.ReadCloser, error) {
	return within(ctx, f, func() (io.ReadCloser, error) { return f.open(ctx, key, at, length) })
}

func (f folder) open(ctx context.Context, key string, at, length int64) (io.ReadCloser, error) {
	file, err := os.Open(f.path(key))
	if errors.Is(err, fs.ErrNotExist) {
		if away := f.there(); away != nil {
			return nil, away
		}
		return nil, ErrNotFound
	}
	if err != nil {
		return nil, err
	}
	if length < 0 {
		length = 1<<62 - at
	}
	return struct {
		io.Reader
		io.Closer
	}{patient{ctx, io.NewSectionReader(file, at, length)}, file}, nil
}

// List walks the folder of the prefix. Unlike a store's list it is no picture of one moment: what
// is written or removed meanwhile may be in it or not.
func (f folder) List(ctx context.Context, prefix string) ([]Object, error) {
	return within(ctx, f, func() ([]Object, error) { return f.list(ctx, prefix) })
}

func (f folder) list(ctx context.Context, prefix string) ([]Object, error) {
	if err := f.there(); err != nil {
		return nil, err
	}
	var all []Object
	err := filepath.WalkDir(f.path(prefix), func(path string, d fs.DirEntry, err error) error {
		if err == nil {
			err = context.Cause(ctx)
		}
		if err != nil || d.IsDir() {
			return ifThere(err)
		}
		info, err := d.Info()
		if err != nil {
			return ifThere(err)
		}
		key, err := filepath.Rel(f.dir, path)
		if err == nil && info.Mode().IsRegular() {
			all = append(all, Object{Key: filepath.ToSlash(key), Size: info.Size(), Time: info.ModTime()})
		}
		return err
	})
	return all, err
}

// ifThere drops the error of what was removed meanwhile.
func ifThere(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// Remove deletes a file and the folders that are empty after it.
func (f folder) Remove(ctx context.Context, key string) error {
	return f.try(ctx, func() error { return f.remove(key) })
}

func (f folder) remove(key string) error {
	path := f.path(key)
	if err := os.Remove(path); err != nil {
		return ifThere(err)
	}
	for parent := filepath.Dir(path); strings.HasPrefix(parent, f.dir+string(filepath.Separator)); parent = filepath.Dir(parent) {
		if os.Remove(parent) != nil {
			break // it is not empty
		}
	}
	return nil
}

// Ping looks for the folder.
func (f folder) Ping(ctx context.Context) error { return f.try(ctx, f.there) }

func (f folder) there() error {
	_, err := os.Stat(f.dir)
	return err
}

func (f folder) Close() error { return nil }
