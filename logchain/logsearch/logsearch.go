// Package logsearch finds the lines of one request in the logs of all processes, whatever the
// sidecar does with the files meanwhile.
package logsearch

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/sys/unix"

	"github.com/semantic-pod/semantic/logchain"
)

// Reader finds the lines of one request in all log files of a folder: those
// that are being written, rotated ones and compressed ones. It may be asked again
// for what came since, and no line is given twice, whatever the sidecar does with
// the files in between.
type Reader struct {
	dir      string
	mark     []byte // what a line of the request has in it
	tails    []*tail
	archived map[string]bool // compressed files that were read
	given    map[lineID]bool
	buffer   []byte
}

// tail is an open file that lines may yet be added to.
type tail struct {
	f    *os.File
	info os.FileInfo
	at   int64 // up to which whole lines were read
}

// lineID names a line in all of its copies.
type lineID struct {
	boot string
	seq  uint64
}

// Line is a line that was found.
type Line struct {
	Time string // RFC 3339, UTC, in nanoseconds
	id   lineID
	Text string // without its line feed
}

var requestIDForm = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

func New(dir, id string) (*Reader, error) {
	if !requestIDForm.MatchString(id) {
		return nil, fmt.Errorf("--request-id=%q is no request's id: it has 1 to 64 letters, digits and . _ -", id)
	}
	return &Reader{
		dir: dir, mark: []byte(`"request_id":"` + id + `"`), archived: map[string]bool{}, given: map[lineID]bool{},
		buffer: make([]byte, 256<<10),
	}, nil
}

// Read returns the lines that were not returned before, in the order of time.
func (r *Reader) Read(ctx context.Context) ([]Line, error) {
	var lines []Line
	take := func(line []byte) { lines = r.take(lines, line) }
	// A file that is renamed between the listing and its opening is found by listing
	// again, until there is no news.
	for news := true; news; {
		var err error
		if news, err = r.look(ctx, take); err != nil {
			return nil, fmt.Errorf("cannot read the logs: %w", err)
		}
	}
	for _, t := range r.tails {
		if err := r.readTail(ctx, t, take); err != nil {
			return nil, fmt.Errorf("cannot read the logs: %w", err)
		}
	}
	r.tails = slices.DeleteFunc(r.tails, (*tail).gone)
	slices.SortStableFunc(lines, func(a, b Line) int {
		return cmp.Or(strings.Compare(a.Time, b.Time), strings.Compare(a.id.boot, b.id.boot), cmp.Compare(a.id.seq, b.id.seq))
	})
	return lines, nil
}

// look opens what is new in the folder, and reads what is new and compressed.
func (r *Reader) look(ctx context.Context, take func([]byte)) (news bool, err error) {
	entries, err := os.ReadDir(r.dir)
	if err != nil {
		return false, err
	}
	for _, e := range entries {
		isNew := false
		n, rotated := logchain.ParseName(e.Name())
		switch {
		case rotated && n.Suffix == logchain.ArchiveSuffix:
			isNew, err = r.readArchive(ctx, e.Name(), take)
		case rotated && n.Suffix == "", !rotated && strings.HasSuffix(e.Name(), logchain.ActiveSuffix):
			isNew, err = r.open(e.Name())
		}
		if errors.Is(err, fs.ErrNotExist) {
			isNew, err = true, nil // it was taken further meanwhile
		}
		if err = cmp.Or(err, ctx.Err()); err != nil {
			return false, err
		}
		news = news || isNew
	}
	return news, nil
}

// take adds the line if it is of the request and new.
func (r *Reader) take(lines []Line, text []byte) []Line {
	if !bytes.Contains(text, r.mark) {
		return lines
	}
	l, ok := logchain.ParseLine(text)
	if !ok {
		return lines
	}
	id := lineID{string(l.Boot), l.Seq}
	if r.given[id] {
		return lines
	}
	r.given[id] = true
	return append(lines, Line{string(l.Time), id, string(bytes.TrimSuffix(text, []byte("\n")))})
}

// open begins to look after a file, unless it is known already, maybe under another
// name.
func (r *Reader) open(name string) (isNew bool, err error) {
	f, err := os.Open(filepath.Join(r.dir, name))
	if err != nil {
		return false, err
	}
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() || slices.ContainsFunc(r.tails, func(t *tail) bool { return os.SameFile(t.info, info) }) {
		f.Close()
		return false, err
	}
	r.tails = append(r.tails, &tail{f: f, info: info})
	return true, nil
}

// readTail reads the whole lines that were added.
func (r *Reader) readTail(ctx context.Context, t *tail, take func([]byte)) error {
	size, err := t.f.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	t.at = min(t.at, size) // a torn line may have been cut off
	n, err := r.scan(ctx, io.NewSectionReader(t.f, t.at, size-t.at), take)
	t.at += n
	return err
}

// readArchive reads a compressed file, once.
func (r *Reader) readArchive(ctx context.Context, name string, take func([]byte)) (isNew bool, err error) {
	if r.archived[name] {
		return false, nil
	}
	f, err := os.Open(filepath.Join(r.dir, name))
	if err != nil {
		return false, err
	}
	defer f.Close()
	dec, err := zstd.NewReader(f, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(logchain.MaxWindow))
	if err != nil {
		return false, err
	}
	defer dec.Close()
	if _, err := r.scan(ctx, dec, take); err != nil {
		return false, fmt.Errorf("%s: %w", name, err)
	}
	r.archived[name] = true
	return true, nil
}

// scan gives take each whole line and returns how many bytes they have together.
func (r *Reader) scan(ctx context.Context, src io.Reader, take func([]byte)) (whole int64, err error) {
	held := 0
	for {
		if held == len(r.buffer) {
			r.buffer = append(r.buffer, make([]byte, len(r.buffer))...)
		}
		n, err := src.Read(r.buffer[held:])
		data := r.buffer[:held+n]
		for {
			end := bytes.IndexByte(data, '\n') + 1
			if end == 0 {
				break
			}
			take(data[:end])
			whole += int64(end)
			data = data[end:]
		}
		held = copy(r.buffer, data)
		if err = cmp.Or(err, ctx.Err()); errors.Is(err, io.EOF) {
			return whole, nil
		} else if err != nil {
			return whole, err
		}
	}
}

// gone reports whether nobody can add to the file any more, and closes it then.
func (t *tail) gone() bool {
	var now unix.Stat_t
	if err := unix.Fstat(int(t.f.Fd()), &now); err == nil && now.Nlink > 0 {
		return false
	}
	t.f.Close()
	return true
}

// FollowInterval is how soon a new line is seen.
const FollowInterval = 100 * time.Millisecond

// Follow gives what is written from now on, until ctx ends.
func (r *Reader) Follow(ctx context.Context, give func([]Line) error) error {
	tick := time.NewTicker(FollowInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		lines, err := r.Read(ctx)
		if err == nil {
			err = give(lines)
		}
		if err != nil {
			return err
		}
	}
}

func (r *Reader) Close() {
	for _, t := range r.tails {
		t.f.Close()
	}
}
