package sidecar

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/sys/unix"

	"github.com/semantic-pod/semantic/logchain"
)

// tail reads one log's lines in their order: through the file that is written, the
// rotated ones, and the compressed ones where it comes late. Of a file that is renamed,
// compressed or removed meanwhile it goes on with what it has open.
type tail struct {
	dir, log string
	next     position // of the first line that was not given yet
	gap      func(was position, now string)

	f     *os.File // nil between files
	zst   *zstd.Decoder
	stamp string // of the file in f; "" while it is not known to be rotated
	buf   []byte // what was read of f and not given yet
	used  int    // of the buffer: was given
	have  int    // of the buffer: was read
	whole bool   // nothing comes after what is in buf
}

const (
	tailBytes = 512 << 10 // read at once, and the longest line that is taken in one piece
	firstLine = 64 << 10
)

// lines gives the next whole lines, and where the ones after them are. There are none
// when all that is written was given. The lines are good until the next call.
func (t *tail) lines() (lines [][]byte, after position, err error) {
	for {
		if t.f == nil {
			if found, err := t.open(); err != nil || !found {
				return nil, t.next, err
			}
		}
		failed := t.fill()
		if lines := t.cut(); len(lines) > 0 {
			return lines, t.next, nil // what came before a failure is good
		}
		if failed != nil {
			name := t.f.Name()
			t.close()
			return nil, t.next, fmt.Errorf("cannot read %s: %w", name, failed)
		}
		if !t.whole {
			if t.whole, err = t.finished(); err != nil || !t.whole {
				return nil, t.next, err
			}
			continue // what was written before the writer let go
		}
		t.leave()
	}
}

// fill reads on until the buffer is full or there is no more at the moment.
func (t *tail) fill() error {
	if t.buf == nil {
		t.buf = make([]byte, tailBytes)
	}
	var src io.Reader = t.f
	if t.zst != nil {
		src = t.zst
	}
	t.have, t.used = copy(t.buf, t.buf[t.used:t.have]), 0
	n, err := readUpTo(src, t.buf[t.have:])
	t.have += n
	return err
}

// readUpTo reads until the buffer is full or the end comes, which is no error. Unlike
// io.ReadFull's, an unexpected end that it returns is one: that of an archive cut short.
func readUpTo(src io.Reader, buf []byte) (n int, err error) {
	for n < len(buf) && err == nil {
		var more int
		more, err = src.Read(buf[n:])
		n += more
	}
	if err == io.EOF {
		err = nil
	}
	return n, err
}

// cut takes the whole lines out of the buffer. A line that fills it is given in pieces.
func (t *tail) cut() (lines [][]byte) {
	end := bytes.LastIndexByte(t.buf[:t.have], '\n') + 1
	if end == 0 && t.have == len(t.buf) {
		end = t.have
	}
	if end == 0 {
		return nil
	}
	for line := range bytes.Lines(t.buf[:end]) {
		lines = append(lines, line)
	}
	if t.next.Offset == 0 {
		t.next.First = hashLine(lines[0])
	}
	t.next.Offset += int64(end)
	t.used = end
	return lines
}

func hashLine(line []byte) string {
	sum := sha256.Sum256(line[:min(len(line), firstLine)])
	return hex.EncodeToString(sum[:])
}

// files lists the log's rotated files after the position, the oldest first; of one that
// is there in both forms, the one that needs no decompressing.
func (t *tail) files() ([]file, error) {
	found, err := look(t.dir)
	if err != nil {
		return nil, err
	}
	plain := map[string]bool{}
	var list []file
	for _, f := range found.rotated {
		if f.log == t.log && f.stamp > t.next.After {
			list = append(list, f)
			plain[f.stamp] = true
		}
	}
	for _, f := range found.archive {
		if f.log == t.log && f.stamp > t.next.After && !plain[f.stamp] {
			list = append(list, f)
		}
	}
	slices.SortFunc(list, func(a, b file) int { return strings.Compare(a.stamp, b.stamp) })
	return list, nil
}

// open opens the file of the position, and goes to it there.
func (t *tail) open() (found bool, err error) {
	list, err := t.files()
	if err != nil {
		return false, err
	}
	one := file{path: filepath.Join(t.dir, t.log)}
	if len(list) > 0 {
		one = list[0]
	}
	f, err := os.Open(one.path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil // not written yet, or renamed in this moment: the next look tells
	}
	if err != nil {
		return false, err
	}
	t.f, t.stamp, t.used, t.have, t.whole = f, one.stamp, 0, 0, false
	if one.suffix == logchain.ArchiveSuffix {
		t.whole = true
		t.zst, err = zstd.NewReader(f, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(logchain.MaxWindow))
	}
	if err == nil {
		err = t.resume()
	}
	if err == nil && one.stamp == "" {
		found, err = t.stillFirst()
	} else {
		found = err == nil
	}
	if !found {
		t.close()
	}
	if err != nil {
		err = fmt.Errorf("cannot read %s: %w", one.path, err)
	}
	return found, err
}

// stillFirst makes sure that no file was rotated between the look at the folder and the
// opening of the one that is written: unless that is ours, it comes first.
func (t *tail) stillFirst() (bool, error) {
	list, err := t.files()
	if err != nil || len(list) == 0 {
		return err == nil, err
	}
	info, err := t.f.Stat()
	return err == nil && os.SameFile(info, list[0].info), err
}

// resume goes to the position in the file that was just opened. If that is another
// file, the one that was being sent is gone; it begins at this one's beginning.
func (t *tail) resume() error {
	if t.next.Offset == 0 {
		return nil
	}
	var src io.Reader = t.f
	if t.zst != nil {
		src = t.zst
	}
	head := make([]byte, firstLine)
	n, err := readUpTo(src, head)
	if err != nil {
		return err
	}
	first := head[:n]
	if end := bytes.IndexByte(first, '\n'); end >= 0 {
		first = first[:end+1]
	}
	same := hashLine(first) == t.next.First
	if same {
		same, err = t.skip(src, head[:n])
	}
	if err == nil && !same {
		t.gap(t.next, t.f.Name())
		t.next.First, t.next.Offset = "", 0
		err = t.rewind()
	}
	return err
}

// skip goes to the offset, behind what was read of the head, and says whether the file
// is that long.
func (t *tail) skip(src io.Reader, head []byte) (bool, error) {
	if t.zst == nil {
		info, err := t.f.Stat()
		if err != nil || info.Size() < t.next.Offset {
			return false, err
		}
		_, err = t.f.Seek(t.next.Offset, io.SeekStart)
		return err == nil, err
	}
	if t.buf == nil {
		t.buf = make([]byte, tailBytes)
	}
	if t.next.Offset <= int64(len(head)) {
		t.have = copy(t.buf, head[t.next.Offset:])
		return true, nil
	}
	_, err := io.CopyN(io.Discard, src, t.next.Offset-int64(len(head)))
	if errors.Is(err, io.EOF) {
		return false, nil
	}
	return err == nil, err
}

func (t *tail) rewind() error {
	if _, err := t.f.Seek(0, io.SeekStart); err != nil || t.zst == nil {
		return err
	}
	return t.zst.Reset(t.f)
}

// finished reports whether the file that was read to its end gets no more lines: it was
// renamed, and its writer has let go of it, which is when the kernel grants its lock.
func (t *tail) finished() (bool, error) {
	info, err := t.f.Stat()
	if err != nil {
		return false, err
	}
	if t.stamp == "" {
		if at, err := os.Stat(filepath.Join(t.dir, t.log)); err == nil && os.SameFile(info, at) {
			return false, nil
		} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return false, err
		}
	}
	fd := int(t.f.Fd())
	if err := unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB); err != nil {
		if errors.Is(err, unix.EWOULDBLOCK) {
			err = nil
		}
		return false, err
	}
	return true, unix.Flock(fd, unix.LOCK_UN)
}

// leave goes behind the file that was read whole. One that was being written when it
// was opened got its stamp since: the first after the position, unless it is gone.
func (t *tail) leave() {
	if t.stamp == "" {
		t.stamp = t.stampOf()
	}
	if t.stamp != "" {
		t.next.After = t.stamp
	}
	t.next.First, t.next.Offset = "", 0
	t.close()
}

// stampOf finds the stamp of the file that was opened before it was rotated; "" if it
// is gone, so that the next one is the first after the position anyhow.
func (t *tail) stampOf() string {
	list, err := t.files()
	info, statErr := t.f.Stat()
	if err != nil || statErr != nil || len(list) == 0 {
		return ""
	}
	one := list[0]
	if os.SameFile(info, one.info) {
		return one.stamp
	}
	if one.suffix != logchain.ArchiveSuffix {
		return ""
	}
	other := tail{dir: t.dir, log: t.log, next: position{After: t.next.After}, gap: t.gap}
	defer other.close()
	if found, err := other.open(); err != nil || !found || other.stamp != one.stamp {
		return ""
	}
	if other.fill() != nil {
		return ""
	}
	first := other.cut()
	if len(first) == 0 && t.next.First == "" || len(first) > 0 && hashLine(first[0]) == t.next.First {
		return one.stamp
	}
	return ""
}

func (t *tail) close() {
	if t.zst != nil {
		t.zst.Close()
	}
	if t.f != nil {
		t.f.Close()
	}
	t.f, t.zst, t.stamp, t.used, t.have, t.whole = nil, nil, "", 0, 0, false
}
