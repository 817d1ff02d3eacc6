package keys

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/semantic-pod/semantic/proxy/limit"
)

// watched opens a store that looks at its file often, and counts its reports.
func watched(t *testing.T, path string, optional bool) (*Store, chan Report) {
	reports := make(chan Report, 100)
	s := open(t, Config{File: path, Optional: optional, Every: 5 * time.Millisecond, Report: func(r Report) { reports <- r }})
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { s.Watch(ctx) })
	t.Cleanup(func() { stop(); wg.Wait() })
	return s, reports
}

func next(t *testing.T, reports chan Report) Report {
	t.Helper()
	select {
	case r := <-reports:
		return r
	case <-time.After(time.Minute):
		t.Fatal("the change was not noticed")
		return Report{}
	}
}

func quiet(t *testing.T, reports chan Report) {
	t.Helper()
	select {
	case r := <-reports:
		t.Errorf("one report too many: %+v", r)
	case <-time.After(100 * time.Millisecond):
	}
}

func TestChangedFileIsReadAgainAndABadOneIsNot(t *testing.T) {
	one, two := generate(), generate()
	path := keyFile(t, "keys:\n"+entry("one", one))
	s, reports := watched(t, path, false)
	write(t, path, "keys:\n"+entry("one", one)+entry("two", two))
	if r := next(t, reports); r.Err != nil || r.Keys != 2 {
		t.Fatalf("%+v", r)
	}
	expect(t, "the new key", who(s, two, now), "acme/two")

	write(t, path, "keys:\n"+entry("one", one)+"  burts: 3\n")
	if r := next(t, reports); r.Err == nil || !strings.Contains(r.Err.Error(), path+":5: unknown field") || r.Keys != 2 {
		t.Fatalf("%+v", r)
	}
	expect(t, "after a bad edit", who(s, two, now), "acme/two")
	if s.Rejected() == nil || s.Loaded() != 2 {
		t.Errorf("rejected %v, loaded %d", s.Rejected(), s.Loaded())
	}
	quiet(t, reports)

	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if r := next(t, reports); r.Err == nil {
		t.Fatalf("%+v", r)
	}
	expect(t, "after the file went", who(s, one, now), "acme/one")

	write(t, path, "keys:\n"+entry("two", two))
	if r := next(t, reports); r.Err != nil || r.Keys != 1 {
		t.Fatalf("%+v", r)
	}
	expect(t, "a key that was taken out", who(s, one, now), "nobody: unknown")
	if s.Rejected() != nil {
		t.Errorf("rejected %v", s.Rejected())
	}
	quiet(t, reports)
}

func TestSameSizeAndReplacedFilesAreNoticed(t *testing.T) {
	key := generate()
	path := keyFile(t, "keys:\n"+entry("one", key))
	s, reports := watched(t, path, false)
	for i, name := range []string{"two", "six", "ten"} {
		if i%2 == 0 {
			overwrite(t, path, "keys:\n"+entry(name, key))
		} else {
			write(t, path, "keys:\n"+entry(name, key))
		}
		for next(t, reports).Err != nil { // the empty file before it is written
		}
		expect(t, "renamed", who(s, key, now), "acme/"+name)
	}
}

func TestFileThatAppearsLaterIsRead(t *testing.T) {
	path, key := t.TempDir()+"/keys.yaml", generate()
	s, reports := watched(t, path, true)
	if s.Required() {
		t.Error("a key is required where there is none")
	}
	write(t, path, "keys:\n"+entry("one", key))
	if r := next(t, reports); r.Err != nil {
		t.Fatal(r.Err)
	}
	expect(t, "the key", who(s, key, now), "acme/one")
	write(t, path, "keys:\n")
	if r := next(t, reports); r.Err != nil || r.Keys != 0 {
		t.Fatalf("%+v", r)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if r := next(t, reports); r.Err == nil {
		t.Error("the file that went was taken for none")
	}
	if !s.Required() {
		t.Error("an emptied file opened the door")
	}
}

func TestFileIsNotReadWhileItIsBeingWritten(t *testing.T) {
	for try := 1; !writesSlowly(t); try++ {
		if try == 5 {
			t.Fatal("in five tries the writer was held up for longer than a look takes")
		}
	}
}

// writesSlowly writes a key file that is watched, and never pauses for two looks. It is
// false if a busy machine made it pause for so long, which proves nothing.
func writesSlowly(t *testing.T) bool {
	const every, pause = 200 * time.Millisecond, 40 * time.Millisecond
	key := generate()
	path := keyFile(t, "keys:\n"+entry("one", key))
	reports := make(chan Report, 100)
	s := open(t, Config{File: path, Every: every, Report: func(r Report) { reports <- r }})
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { s.Watch(ctx) })
	defer func() { stop(); wg.Wait() }()
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	wrote := time.Now()
	for _, part := range strings.SplitAfter("keys:\n"+entry("two", generate())+entry("one", key), "\n") {
		if _, err := f.WriteString(part); err != nil {
			t.Fatal(err)
		}
		if time.Since(wrote) > every {
			return false
		}
		wrote = time.Now()
		time.Sleep(pause) // a slow writer, but never still for two looks
		got := who(s, key, now)
		if time.Since(wrote) > every {
			return false
		}
		expect(t, "while it is written", got, "acme/one")
	}
	if r := next(t, reports); r.Err != nil || r.Keys != 2 {
		t.Errorf("%+v", r)
	}
	return true
}

func TestReloadKeepsWhatKeysHaveUsed(t *testing.T) {
	key := generate()
	limits := []string{"  requests_per_second: 0.01", "  tokens_per_minute: 1000"}
	path := keyFile(t, "keys:\n"+entry("one", key, limits...))
	s := open(t, Config{File: path})
	id, _ := s.Lookup([]byte(key), now)
	at := time.Now()
	if d := id.Limit.Admit(at, limit.Need{Prompt: 900}); d.Reason != limit.Admitted {
		t.Fatalf("%+v", d)
	}
	write(t, path, "# other\nkeys:\n"+entry("two", generate())+entry("one", key, limits...))
	if err := s.Reload(); err != nil {
		t.Fatal(err)
	}
	again, _ := s.Lookup([]byte(key), now)
	if d := again.Limit.Admit(at, limit.Need{}); d.Reason != limit.RequestRate || d.Tokens.Remaining != 100 {
		t.Errorf("after a reload: %+v", d)
	}
	write(t, path, "keys:\n"+entry("one", key, "  burst: 3"))
	if err := s.Reload(); err == nil || s.Rejected() == nil {
		t.Error("a bad file was taken")
	}
	if d := again.Limit.Admit(at, limit.Need{}); d.Reason != limit.RequestRate {
		t.Errorf("a refused file changed the limits: %+v", d)
	}
}

func TestEnvironmentAndFileTogether(t *testing.T) {
	path := keyFile(t, "keys:\n"+entry("one", "my-own-secret-key-1"))
	s := open(t, Config{File: path, Environ: "my-own-secret-key-2"})
	expect(t, "file", who(s, "my-own-secret-key-1", now), "acme/one")
	expect(t, "environment", who(s, "my-own-secret-key-2", now), "default/env-1")
	_, _, err := Open(Config{File: path, Environ: "one:my-own-secret-key-2", Table: limit.NewTable(now, limit.Options{})})
	if err == nil || !strings.Contains(err.Error(), "SEMANTIC_API_KEYS, key 1: the name one is taken: see "+path+":2") {
		t.Errorf("got %v", err)
	}
}

func TestLabelsAreBoundedAndStay(t *testing.T) {
	var text strings.Builder
	text.WriteString("keys:\n")
	for i := range 60 {
		text.WriteString(entry(fmt.Sprint("k", i), fmt.Sprint("key", i)))
	}
	path := keyFile(t, text.String())
	s := open(t, Config{File: path})
	for i, id := range s.Identities() {
		want := id.Key
		if i >= 50 {
			want = "other"
		}
		expect(t, "label of "+id.Key, id.Label, want)
	}
	write(t, path, "keys:\n"+entry("new", "new")+entry("k55", "key55")+entry("k3", "key3"))
	if err := s.Reload(); err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"other", "other", "k3"} {
		expect(t, "label after a reload", s.Identities()[i].Label, want)
	}
}

// TestNoLookupFailsWhileFilesAreRead hammers a key while its file is edited.
func TestNoLookupFailsWhileFilesAreRead(t *testing.T) {
	key := generate()
	path := keyFile(t, "keys:\n"+entry("one", key))
	s, _ := watched(t, path, false)
	var done atomic.Bool
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for !done.Load() {
				if got := who(s, key, now); got != "acme/one" {
					t.Errorf("got %s", got)
					return
				}
			}
		})
	}
	for i := range 50 {
		text := "keys:\n" + entry("one", key) + entry("two", fmt.Sprint("key", i))
		if i%5 == 4 {
			text += "broken"
		}
		write(t, path, text)
		_ = s.Reload() // beside the watch
	}
	done.Store(true)
	wg.Wait()
}

// BenchmarkRead reads a file of ten thousand keys.
func BenchmarkRead(b *testing.B) {
	var text strings.Builder
	text.WriteString("keys:\n")
	for i := range 10_000 {
		text.WriteString(entry(fmt.Sprint("k", i), fmt.Sprint("key", i), "  created: 2026-01-02T03:04:05Z", "  requests_per_second: 5", "  burst: 10", "  tokens_per_minute: 60000", "  max_concurrent: 4"))
	}
	path := b.TempDir() + "/keys.yaml"
	if err := os.WriteFile(path, []byte(text.String()), 0o600); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if s, _, err := Open(Config{File: path, Table: limit.NewTable(now, limit.Options{})}); err != nil || s.Loaded() != 10_000 {
			b.Fatal(err)
		}
	}
}
