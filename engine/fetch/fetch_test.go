package fetch

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// library serves one file, and misbehaves as it is told.
type library struct {
	*httptest.Server
	file []byte

	mu       sync.Mutex
	ranges   []string // of the requests
	cutAfter int      // bytes of each answer, after which the connection is cut; 0 for none
	stall    bool     // after the cut the connection stays
	whole    bool     // ranges are ignored
	statuses []int    // of the next answers
	skewed   bool     // another part is sent than was asked for
}

func newLibrary(t *testing.T, size int) *library {
	t.Helper()
	l := &library{file: make([]byte, size)}
	rng := rand.New(rand.NewPCG(1, uint64(size)))
	for i := range l.file {
		l.file[i] = byte(rng.Uint32())
	}
	l.Server = httptest.NewServer(l)
	t.Cleanup(l.Close)
	return l
}

func (l *library) sum() string { return fmt.Sprintf("%x", sha256.Sum256(l.file)) }

func (l *library) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	l.mu.Lock()
	l.ranges = append(l.ranges, r.Header.Get("Range"))
	cut, stall, skewed, status := l.cutAfter, l.stall, l.skewed, 0
	if len(l.statuses) > 0 {
		status, l.statuses = l.statuses[0], l.statuses[1:]
	}
	l.skewed = false
	if l.whole {
		r.Header.Del("Range")
	}
	l.mu.Unlock()
	switch {
	case status != 0:
		w.WriteHeader(status)
		return
	case skewed:
		r.Header.Set("Range", "bytes=1-")
	}
	if cut > 0 {
		w = &cutter{ResponseWriter: w, left: cut, stall: stall, done: r.Context().Done()}
	}
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(l.file))
}

// cutter breaks the connection in the middle of an answer.
type cutter struct {
	http.ResponseWriter
	left  int
	stall bool
	done  <-chan struct{}
}

func (c *cutter) Write(b []byte) (int, error) {
	if len(b) <= c.left {
		c.left -= len(b)
		return c.ResponseWriter.Write(b)
	}
	_, _ = c.ResponseWriter.Write(b[:c.left])
	_ = http.NewResponseController(c.ResponseWriter).Flush()
	if c.stall {
		<-c.done
	}
	panic(http.ErrAbortHandler)
}

func (l *library) options(t *testing.T) Options {
	return Options{URL: l.URL + "/dir/m.gguf", SHA256: l.sum(), Path: filepath.Join(t.TempDir(), "new", "m.gguf"), Retries: 3, Stall: 20 * time.Second}
}

// check holds what was fetched against what was to be.
func (l *library) check(t *testing.T, o Options) {
	t.Helper()
	got, err := os.ReadFile(o.Path)
	if err != nil || !bytes.Equal(got, l.file) {
		t.Errorf("%d bytes of %d, %v", len(got), len(l.file), err)
	}
	if _, err := os.Stat(o.Path + ".part"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the part is left: %v", err)
	}
}

func TestFileComesWholeAndOnce(t *testing.T) {
	l := newLibrary(t, 3<<20)
	o := l.options(t)
	r, err := Fetch(t.Context(), o)
	if err != nil || r.Bytes != 3<<20 || r.Resumed != 0 || r.Already {
		t.Fatalf("%+v, %v", r, err)
	}
	l.check(t, o)
	if r, err := Fetch(t.Context(), o); err != nil || !r.Already || len(l.ranges) != 1 {
		t.Errorf("again: %+v, %v, %d requests", r, err, len(l.ranges))
	}
}

func TestCutConnectionIsGoneOnWith(t *testing.T) {
	l := newLibrary(t, 1<<20)
	l.cutAfter = 300_000
	o := l.options(t)
	if _, err := Fetch(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	l.check(t, o)
	if want := []string{"", "bytes=300000-", "bytes=600000-", "bytes=900000-"}; fmt.Sprint(l.ranges) != fmt.Sprint(want) {
		t.Errorf("asked for %q, want %q", l.ranges, want)
	}
}

func TestNextCallGoesOnWhereTheLastOneEnded(t *testing.T) {
	l := newLibrary(t, 1<<20)
	o := l.options(t)
	o.Retries, l.cutAfter = 0, 400_000
	if _, err := Fetch(t.Context(), o); err == nil || !strings.Contains(err.Error(), "400000 bytes are kept") {
		t.Fatalf("%v", err)
	}
	l.cutAfter = 0
	r, err := Fetch(t.Context(), o)
	if err != nil || r.Resumed != 400_000 || l.ranges[1] != "bytes=400000-" {
		t.Errorf("%+v, %v, %q", r, err, l.ranges)
	}
	l.check(t, o)
}

func TestServerWithoutRangesBeginsAgain(t *testing.T) {
	l := newLibrary(t, 1<<20)
	o := l.options(t)
	o.Retries, l.cutAfter = 0, 400_000
	_, _ = Fetch(t.Context(), o)
	l.cutAfter, l.whole = 0, true
	if r, err := Fetch(t.Context(), o); err != nil || r.Resumed != 0 {
		t.Errorf("%+v, %v", r, err)
	}
	l.check(t, o)
}

func TestAnotherPartThanAskedForIsNotTaken(t *testing.T) {
	l := newLibrary(t, 1<<20)
	l.cutAfter = 700_000
	o := l.options(t)
	o.Retries = 1
	l.skewed = true
	if _, err := Fetch(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	l.check(t, o)
}

func TestWrongHashIsRefusedAndNothingIsLeft(t *testing.T) {
	l := newLibrary(t, 1<<20)
	o := l.options(t)
	o.SHA256 = strings.Repeat("ab", 32)
	_, err := Fetch(t.Context(), o)
	if !errors.Is(err, ErrWrongHash) || !strings.Contains(err.Error(), l.sum()) || !strings.Contains(err.Error(), o.SHA256) {
		t.Errorf("%v", err)
	}
	if left, _ := os.ReadDir(filepath.Dir(o.Path)); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
	for _, bad := range []string{"", "abc", strings.Repeat("x", 64)} {
		o.SHA256 = bad
		if _, err := Fetch(t.Context(), o); err == nil || !strings.Contains(err.Error(), "no SHA-256") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestPartOfAnotherFileIsFoundOut(t *testing.T) {
	for name, part := range map[string][]byte{"shorter": make([]byte, 1000), "longer": make([]byte, 2<<20), "whole and right": nil} {
		t.Run(name, func(t *testing.T) {
			l := newLibrary(t, 1<<20)
			o := l.options(t)
			if part == nil {
				part = l.file
			}
			if err := os.MkdirAll(filepath.Dir(o.Path), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(o.Path+".part", part, 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := Fetch(t.Context(), o)
			if name == "shorter" {
				if !errors.Is(err, ErrWrongHash) {
					t.Errorf("%v", err)
				}
				_, err = Fetch(t.Context(), o) // which left nothing to go on with
			}
			if err != nil {
				t.Error(err)
			}
			l.check(t, o)
		})
	}
}

func TestErrorsThatMayPassAreTriedAgainAndOthersNot(t *testing.T) {
	l := newLibrary(t, 1000)
	o := l.options(t)
	l.statuses = []int{503, 429, 500}
	if _, err := Fetch(t.Context(), o); err != nil {
		t.Error(err)
	}
	for _, status := range []int{401, 403, 404, 410} {
		o.Path += "x"
		l.statuses, l.ranges = []int{status}, nil
		if _, err := Fetch(t.Context(), o); err == nil || !strings.Contains(err.Error(), fmt.Sprint(status)) || len(l.ranges) != 1 {
			t.Errorf("%d: %v after %d requests", status, err, len(l.ranges))
		}
	}
	o.Path += "y"
	l.statuses, l.ranges = []int{503, 503, 503, 503, 503}, nil
	if _, err := Fetch(t.Context(), o); err == nil || len(l.ranges) != 4 {
		t.Errorf("%v after %d requests", err, len(l.ranges))
	}
}

func TestServerThatFallsSilentIsLeft(t *testing.T) {
	l := newLibrary(t, 1<<20)
	l.cutAfter, l.stall = 100_000, true
	o := l.options(t)
	o.Stall, o.Retries = 200*time.Millisecond, 0
	if _, err := Fetch(t.Context(), o); err == nil || !strings.Contains(err.Error(), "nothing came for 200ms") || !strings.Contains(err.Error(), "are kept") {
		t.Errorf("%v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	o.Stall = time.Hour
	time.AfterFunc(100*time.Millisecond, cancel)
	if _, err := Fetch(ctx, o); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	l.cutAfter = 0
	if r, err := Fetch(t.Context(), o); err != nil || r.Resumed < 100_000 {
		t.Errorf("%+v, %v", r, err)
	}
	l.check(t, o)
}

func TestAnotherFileOfThatNameIsLeftAlone(t *testing.T) {
	l := newLibrary(t, 1000)
	o := l.options(t)
	if err := os.MkdirAll(filepath.Dir(o.Path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(o.Path, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Fetch(t.Context(), o); err == nil || !strings.Contains(err.Error(), "is another file") || len(l.ranges) != 0 {
		t.Errorf("%v", err)
	}
	if b, _ := os.ReadFile(o.Path); string(b) != "mine" {
		t.Errorf("it is %q now", b)
	}
}

func TestTwoAtOnceDoNotMix(t *testing.T) {
	l := newLibrary(t, 1<<20)
	l.cutAfter, l.stall = 1000, true
	o := l.options(t)
	ctx, cancel := context.WithCancel(t.Context())
	first := make(chan error)
	go func() { _, err := Fetch(ctx, o); first <- err }()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		if info, err := os.Stat(o.Path + ".part"); err == nil && info.Size() > 0 || time.Now().After(end) {
			break
		}
	}
	if _, err := Fetch(t.Context(), o); err == nil || !strings.Contains(err.Error(), "another process") {
		t.Errorf("%v", err)
	}
	cancel()
	<-first
}

func TestSecretsInTheAddressAreNotTold(t *testing.T) {
	l := newLibrary(t, 1000)
	o := l.options(t)
	o.URL = strings.Replace(l.URL, "://", "://me:secret@", 1) + "/m.gguf?token=secret"
	l.statuses = []int{403}
	for _, url := range []string{o.URL, "http://me:secret@127.0.0.1:1/m.gguf?token=secret", "http://me:secret@bad host/m", "ftp://me:secret@host/m"} {
		o.URL, o.Retries = url, 0
		if _, err := Fetch(t.Context(), o); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%v", err)
		}
	}
}
