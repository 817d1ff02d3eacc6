package console

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/semantic-pod/semantic/logchain/logsearch"
)

const (
	storyTimeout = 9 * time.Second
	maxLines     = 500
	maxTail      = 4 << 20 // bytes of the proxy's log in which recent requests are looked for
	tailPiece    = 64 << 10
	maxRequests  = 50
	around       = 15 * time.Second
)

// story answers with the lines of a request from all processes, in the order of time.
func (c *Console) story(w http.ResponseWriter, r *http.Request) {
	reader, err := logsearch.New(c.cfg.LogDir, r.PathValue("id"))
	if err != nil {
		refuse(w, http.StatusBadRequest, err.Error())
		return
	}
	defer reader.Close()
	ctx, cancel := context.WithTimeout(r.Context(), storyTimeout)
	defer cancel()
	found, err := reader.Read(ctx)
	if err != nil {
		refuse(w, http.StatusInternalServerError, err.Error())
		return
	}
	lines := []json.RawMessage{}
	for _, l := range found[:min(len(found), maxLines)] {
		if json.Valid([]byte(l.Text)) {
			lines = append(lines, json.RawMessage(l.Text))
		}
	}
	if len(lines) == 0 {
		refuse(w, http.StatusNotFound, "no log of this pod has a line of request "+r.PathValue("id"))
		return
	}
	answer(w, map[string]any{"id": r.PathValue("id"), "lines": lines})
}

// requests lists the newest access lines; with ?at=MILLISECONDS those that ended around that time.
func (c *Console) requests(w http.ResponseWriter, r *http.Request) {
	from, to := time.Time{}, time.Now().Add(time.Minute)
	if at := r.URL.Query().Get("at"); at != "" {
		ms, err := strconv.ParseInt(at, 10, 64)
		if err != nil {
			refuse(w, http.StatusBadRequest, "at must be milliseconds since 1970")
			return
		}
		from, to = time.UnixMilli(ms).Add(-around), time.UnixMilli(ms).Add(around)
	}
	found := []json.RawMessage{}
	err := newestLines(filepath.Join(c.cfg.LogDir, "proxy.log"), func(line []byte) (more bool) {
		var l struct {
			TS  time.Time
			Msg string
		}
		if !bytes.Contains(line, []byte(`"msg":"request"`)) || json.Unmarshal(line, &l) != nil || l.Msg != "request" {
			return true
		}
		if l.TS.After(from) && l.TS.Before(to) {
			found = append(found, bytes.Clone(line))
		}
		return len(found) < maxRequests && l.TS.After(from.Add(-around)) // lines are in the order of time, or nearly so
	})
	if err != nil && !os.IsNotExist(err) {
		refuse(w, http.StatusInternalServerError, err.Error())
		return
	}
	answer(w, map[string]any{"requests": found})
}

// newestLines gives the lines at a file's end, the newest first, until give wants no more. It holds
// a piece of the file at a time, since many pages may ask at once.
func newestLines(path string, give func(line []byte) (more bool)) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	var buf, rest []byte // rest is the end of a line whose beginning lies before
	for end := size; end > max(0, size-maxTail); {
		at := max(0, end-tailPiece)
		buf = append(buf[:0], make([]byte, end-at)...)
		if _, err := f.ReadAt(buf, at); err != nil {
			return err
		}
		buf, end = append(buf, rest...), at
		for {
			i := bytes.LastIndexByte(buf, '\n')
			if i < 0 {
				break
			}
			if !give(buf[i+1:]) {
				return nil
			}
			buf = buf[:i]
		}
		rest = append(rest[:0], buf...)
	}
	if size <= maxTail {
		give(rest)
	}
	return nil
}
