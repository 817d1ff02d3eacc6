package objectstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"
)

// everyStore runs a test with a folder and with a server that speaks as S3 does.
func everyStore(t *testing.T, test func(t *testing.T, address string)) {
	t.Run("file", func(t *testing.T) { test(t, "file://"+t.TempDir()) })
	t.Run("s3", func(t *testing.T) {
		backend := s3mem.New()
		if err := backend.CreateBucket("agents"); err != nil {
			t.Fatal(err)
		}
		server := httptest.NewServer(gofakes3.New(backend).Server())
		t.Cleanup(server.Close)
		t.Setenv("AWS_ACCESS_KEY_ID", "test")
		t.Setenv("AWS_SECRET_ACCESS_KEY", "test")
		test(t, "s3://agents?region=us-east-1&use_path_style=true&endpoint="+server.URL)
	})
}

func open(t *testing.T, address string) Bucket {
	t.Helper()
	b, err := Open(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

func read(t *testing.T, b Bucket, key string, at, length int64) string {
	t.Helper()
	r, err := b.Open(t.Context(), key, at, length)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	text, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// Of all who create an object at once, through stores opened apart, one succeeds, and what it
// wrote is what is there.
func TestOneOfAllWhoCreateAnObjectSucceeds(t *testing.T) {
	everyStore(t, func(t *testing.T, address string) {
		for round := range 10 {
			key := fmt.Sprintf("a/%d/lease", round)
			results := make([]error, 16)
			var wg sync.WaitGroup
			for i := range results {
				b := open(t, address)
				wg.Go(func() { results[i] = b.Create(t.Context(), key, strings.NewReader(fmt.Sprint(i))) })
			}
			wg.Wait()
			winner := -1
			for i, err := range results {
				switch {
				case err == nil && winner >= 0:
					t.Errorf("%d and %d both created %s", winner, i, key)
				case err == nil:
					winner = i
				case !errors.Is(err, ErrExists):
					t.Errorf("%d: %v", i, err)
				}
			}
			if text := read(t, open(t, address), key, 0, -1); text != fmt.Sprint(winner) {
				t.Errorf("%d created it and %q is there", winner, text)
			}
		}
	})
}

func TestObjectsAreReadListedAndRemoved(t *testing.T) {
	everyStore(t, func(t *testing.T, address string) {
		b := open(t, address)
		big := strings.Repeat("0123456789", 2<<20) // more than is sent at once
		for key, text := range map[string]string{"a/x": "hello", "a/b/y": big, "ab/z": ""} {
			if err := b.Create(t.Context(), key, strings.NewReader(text)); err != nil {
				t.Fatal(err)
			}
		}
		if text := read(t, b, "a/x", 1, 3); text != "ell" {
			t.Errorf("%q", text)
		}
		if text := read(t, b, "a/b/y", 0, -1); text != big {
			t.Errorf("%d bytes of %d", len(text), len(big))
		}
		keys := func(prefix string) (list []string) {
			all, err := b.List(t.Context(), prefix)
			if err != nil {
				t.Fatal(err)
			}
			for _, o := range all {
				list = append(list, fmt.Sprint(o.Key, " ", o.Size))
				if age := time.Since(o.Time); age > time.Hour || age < -time.Hour {
					t.Errorf("%s is %s old", o.Key, age)
				}
			}
			return list
		}
		if list := fmt.Sprint(keys("a/")); list != fmt.Sprintf("[a/b/y %d a/x 5]", len(big)) {
			t.Error(list)
		}
		if list := keys("none/"); len(list) != 0 {
			t.Error(list)
		}
		for range 2 { // the second time there is nothing
			if err := b.Remove(t.Context(), "a/b/y"); err != nil {
				t.Error(err)
			}
		}
		if _, err := b.Open(t.Context(), "a/b/y", 0, -1); !errors.Is(err, ErrNotFound) {
			t.Errorf("%v", err)
		}
		if list := fmt.Sprint(keys("a/")); list != "[a/x 5]" {
			t.Error(list)
		}
		if err := b.Ping(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// What is given up in the middle leaves nothing.
func TestObjectIsThereWholeOrNotAtAll(t *testing.T) {
	everyStore(t, func(t *testing.T, address string) {
		b := open(t, address)
		broken := io.MultiReader(strings.NewReader("half"), failing{})
		if err := b.Create(t.Context(), "a/x", broken); err == nil {
			t.Error("it succeeded")
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := b.Create(ctx, "a/x", strings.NewReader("whole")); err == nil {
			t.Error("it succeeded after its time")
		}
		if all, err := b.List(t.Context(), "a/"); err != nil || len(all) != 0 {
			t.Errorf("%v, %v", all, err)
		}
		if err := b.Create(t.Context(), "a/x", strings.NewReader("whole")); err != nil {
			t.Error(err)
		}
	})
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errors.New("the source broke") }

// A folder that is not there, as of a volume that is not mounted, is no empty store, and is not
// made.
func TestFolderThatIsAwayIsNoEmptyStore(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "gone")
	b := open(t, "file://"+dir)
	_, listed := b.List(t.Context(), "a/")
	_, opened := b.Open(t.Context(), "a/x", 0, -1)
	for what, err := range map[string]error{"ping": b.Ping(t.Context()), "list": listed, "open": opened, "create": b.Create(t.Context(), "a/x", strings.NewReader("x"))} {
		if err == nil || errors.Is(err, ErrNotFound) || errors.Is(err, ErrExists) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("the folder was made: %v", err)
	}
}

// A file system that does not answer, here a pipe that nobody writes to, is left behind.
func TestFileSystemThatHangsIsLeftBehind(t *testing.T) {
	dir := t.TempDir()
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	b := open(t, "file://"+dir)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := b.Open(ctx, "pipe", 0, -1); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
	if err := b.Ping(t.Context()); err != nil { // others go on
		t.Error(err)
	}
	w, err := os.OpenFile(pipe, os.O_WRONLY, 0) // lets the call end
	if err != nil {
		t.Fatal(err)
	}
	w.Close()
}

func TestAddressThatCannotBeIsRefused(t *testing.T) {
	for address, want := range map[string]string{"gs://x": "-tags gcs", "azblob://x": "-tags azure", "ftp://x": "there is no store", "bucket": "no address"} {
		if err := Check("--cold-store", address); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "--cold-store="+address) {
			t.Errorf("%s: %v, want %q", address, err, want)
		}
	}
	for _, address := range []string{"s3://agents?region=eu-central-1", "file:///mnt/agents"} {
		if err := Check("--cold-store", address); err != nil {
			t.Error(err)
		}
	}
}
