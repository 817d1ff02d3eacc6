// Package fetch brings a large file over HTTP: what was cut off is gone on with, and
// nothing is there under the file's name before its SHA-256 is the one that was asked for.
//
// Read: fetch (from the part to the whole), request (one request, and what is tried again).
package fetch

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// ErrWrongHash is returned for a file that is not the one that was asked for. What came
// is deleted.
var ErrWrongHash = errors.New("the SHA-256 is not the one that was asked for")

// Options say what to fetch, and to where.
type Options struct {
	URL    string // http or https
	SHA256 string // 64 hexadecimal digits
	Path   string // of the file; until it is whole it is Path + ".part"

	Retries  int                     // requests without a new byte, one after the other, until it is given up
	Stall    time.Duration           // without a byte, after which a request is given up
	Progress func(done, total int64) // called now and then; total is -1 while it is not known

	Client *http.Client // nil for one that has no time limit but Stall
}

// Result is what became of it.
type Result struct {
	Bytes   int64
	Resumed int64 // bytes that were there before
	Already bool  // the file was there, whole
}

// Fetch returns when the file is there, synced to disk. When it fails, the part stays and
// the next call goes on with it, unless it is not a part of that file.
func Fetch(ctx context.Context, o Options) (Result, error) {
	want, err := hex.DecodeString(o.SHA256)
	if err != nil || len(want) != sha256.Size {
		return Result{}, fmt.Errorf("%q is no SHA-256: it has 64 hexadecimal digits", o.SHA256)
	}
	if there, size, err := isThere(ctx, o.Path, want); err != nil || there {
		return Result{Bytes: size, Already: there}, err
	}
	part, err := openPart(o.Path + ".part")
	if err != nil {
		return Result{}, err
	}
	defer func() { _ = part.Close() }()
	f := fetcher{Options: o, part: part, sum: sha256.New(), total: -1}
	if f.done, err = io.Copy(f.sum, contextReader{ctx, part}); err != nil {
		return Result{}, fmt.Errorf("cannot read what is there of it: %w", err)
	}
	resumed := f.done
	if resumed > 0 && string(f.sum.Sum(nil)) == string(want) { // it was cut off before it got its name
		return Result{Bytes: f.done, Resumed: resumed}, f.finish()
	}
	if err := f.all(ctx); err != nil {
		return Result{}, err
	}
	if got := f.sum.Sum(nil); string(got) != string(want) {
		return Result{}, errors.Join(fmt.Errorf("%w: %x came, %x was expected", ErrWrongHash, got, want), os.Remove(part.Name()))
	}
	return Result{Bytes: f.done, Resumed: min(resumed, f.kept)}, f.finish()
}

// isThere says whether the file is there and is the one; another one is an error.
func isThere(ctx context.Context, path string, want []byte) (bool, int64, error) {
	file, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return false, 0, nil
	}
	if err != nil {
		return false, 0, err
	}
	defer func() { _ = file.Close() }()
	sum := sha256.New()
	size, err := io.Copy(sum, contextReader{ctx, file})
	if err != nil {
		return false, 0, err
	}
	if got := sum.Sum(nil); string(got) != string(want) {
		return false, 0, fmt.Errorf("%s is there already and is another file: its SHA-256 is %x", path, got)
	}
	return true, size, nil
}

// openPart opens the part for us alone.
func openPart(path string) (*os.File, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	part, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(part.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = part.Close()
		return nil, fmt.Errorf("%s is being fetched by another process: %w", path, err)
	}
	return part, nil
}

// fetcher is one file on its way.
type fetcher struct {
	Options
	part  *os.File
	sum   hash.Hash // of the bytes of the part
	done  int64     // bytes of the part
	kept  int64     // bytes that were there before and were not asked for again
	total int64     // -1 while it is not known
	told  time.Time
}

// finish gives the part its name.
func (f *fetcher) finish() error {
	if err := f.part.Sync(); err != nil {
		return fmt.Errorf("cannot write %s: %w", f.part.Name(), err)
	}
	if err := os.Rename(f.part.Name(), f.Path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(f.Path))
	if err != nil {
		return err
	}
	defer func() { _ = dir.Close() }()
	return dir.Sync()
}

// restart forgets the part.
func (f *fetcher) restart() error {
	f.sum.Reset()
	f.done, f.kept = 0, 0
	if err := f.part.Truncate(0); err != nil {
		return err
	}
	_, err := f.part.Seek(0, io.SeekStart)
	return err
}

// Write takes bytes that came.
func (f *fetcher) Write(b []byte) (int, error) {
	n, err := f.part.Write(b)
	f.sum.Write(b[:n])
	f.done += int64(n)
	if err != nil {
		return n, &fatalError{fmt.Errorf("cannot write %s: %w", f.part.Name(), err)}
	}
	if now := time.Now(); f.Progress != nil && now.Sub(f.told) > 500*time.Millisecond {
		f.told = now
		f.Progress(f.done, f.total)
	}
	return n, nil
}

// contextReader ends with its context.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c contextReader) Read(b []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(b)
}

// place is an address without what may be secret in it.
func place(url string) string {
	url, _, _ = strings.Cut(url, "?")
	if scheme, rest, ok := strings.Cut(url, "://"); ok {
		host, path, _ := strings.Cut(rest, "/")
		return scheme + "://" + host[strings.LastIndexByte(host, '@')+1:] + "/" + path
	}
	return url
}
