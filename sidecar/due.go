package sidecar

import (
	"errors"
	"io"
	"os"
	"time"

	"github.com/robfig/cron/v3"

	"github.com/semantic-pod/semantic/logchain"
)

// dueness tells which logs are to be rotated. Age and schedule go by the time in a
// log's first line, so that they hold across restarts and an empty log is left alone.
type dueness struct {
	bytes    int64
	age      time.Duration // 0: not by age
	schedule cron.Schedule // nil: not by schedule

	begun map[string]beginning // by path
}

// beginning is when the file at a path got its first line.
type beginning struct {
	file os.FileInfo
	at   time.Time
}

func newDueness(cfg Config) (*dueness, error) {
	schedule, err := cfg.schedule()
	if err != nil {
		return nil, err
	}
	return &dueness{bytes: int64(cfg.RotateBytes), age: time.Duration(cfg.RotateAge), schedule: schedule, begun: map[string]beginning{}}, nil
}

// why names the setting by which the file is due; "" if it is not.
func (d *dueness) why(f file, now time.Time) (string, error) {
	if f.size >= d.bytes {
		return "size", nil
	}
	if d.age == 0 && d.schedule == nil || f.size == 0 {
		return "", nil
	}
	begun, err := d.firstLine(f, now)
	switch {
	case err != nil:
		return "", err
	case d.age > 0 && now.Sub(begun) >= d.age:
		return "age", nil
	case d.schedule != nil && !now.Before(d.schedule.Next(begun.UTC())):
		return "schedule", nil
	}
	return "", nil
}

// firstLine returns the time of the file's first line. For a line without one it is
// the time when the file was first seen.
func (d *dueness) firstLine(f file, now time.Time) (time.Time, error) {
	if known, ok := d.begun[f.path]; ok && os.SameFile(known.file, f.info) {
		return known.at, nil
	}
	at, err := readFirstTime(f.path)
	if err != nil {
		return at, err
	}
	if at.IsZero() {
		at = now
	}
	d.begun[f.path] = beginning{f.info, at}
	return at, nil
}

// forget drops what is known of a path: the next file there may get the same inode.
func (d *dueness) forget(path string) { delete(d.begun, path) }

// readFirstTime reads the time of a log's first line; zero if it has none.
func readFirstTime(path string) (time.Time, error) {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return time.Time{}, nil // renamed meanwhile
	}
	if err != nil {
		return time.Time{}, err
	}
	defer f.Close()
	head := make([]byte, 256)
	n, err := io.ReadFull(f, head)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return time.Time{}, err
	}
	l, ok := logchain.ParseLine(head[:n])
	if !ok {
		return time.Time{}, nil
	}
	at, err := time.Parse(time.RFC3339Nano, string(l.Time))
	if err != nil {
		return time.Time{}, nil
	}
	return at, nil
}
