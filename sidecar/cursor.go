package sidecar

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/semantic-pod/semantic/logchain"
)

// cursorName is the file that says up to where lines were taken by the OTLP receiver.
const cursorName = "ship-otlp.json"

// position is a place in a log, across its rotations and their compression: in which
// file, which is the first one after a stamp, and where in what it says. The hash of
// the file's first line tells whether it is still that one, whatever it is called.
type position struct {
	After  string `json:"after"`            // stamp of the last file that was sent whole
	First  string `json:"first,omitempty"`  // SHA-256 of the file's first line; "" before it has one
	Offset int64  `json:"offset,omitempty"` // of the next line, in bytes of the decompressed file
}

// cursor is the positions in a folder's logs, on the disk.
type cursor struct {
	dir   string
	logs  map[string]position
	dirty bool
}

// readCursor reads what an earlier sidecar left. Without a cursor, or with one that cannot
// be read, which is an error, all that is in the folder comes again: better a line twice
// than not at all.
func readCursor(dir string) (*cursor, error) {
	c := &cursor{dir: dir, logs: map[string]position{}}
	text, err := os.ReadFile(filepath.Join(dir, cursorName))
	if errors.Is(err, fs.ErrNotExist) {
		return c, nil // all that is there is to be sent
	}
	if err == nil {
		err = json.Unmarshal(text, &c.logs)
	}
	if err != nil || c.logs == nil {
		c.logs = map[string]position{}
		return c, fmt.Errorf("cannot read the cursor %s: %w", cursorName, err)
	}
	return c, nil
}

// move notes where a log's next line is.
func (c *cursor) move(log string, to position) {
	if c.logs[log] != to {
		c.logs[log], c.dirty = to, true
	}
}

// save puts the cursor onto the disk as a whole. Until it succeeds the last one holds,
// from which lines would be sent again.
func (c *cursor) save() error {
	if !c.dirty {
		return nil
	}
	text, err := json.Marshal(c.logs)
	if err != nil {
		return err
	}
	path := filepath.Join(c.dir, cursorName)
	part := path + logchain.PartEnding
	out, err := os.OpenFile(part, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, archiveMode)
	if err != nil {
		return fmt.Errorf("cannot keep the cursor: %w", err)
	}
	_, err = out.Write(append(text, '\n'))
	err = errors.Join(err, out.Sync(), out.Close())
	if err == nil {
		err = os.Rename(part, path)
	}
	if err != nil {
		return fmt.Errorf("cannot keep the cursor: %w", errors.Join(err, os.Remove(part)))
	}
	if err := logchain.SyncFolder(c.dir); err != nil {
		return fmt.Errorf("cannot keep the cursor: %w", err)
	}
	c.dirty = false
	return nil
}
