package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestAgentComesBackAsItWasWritten(t *testing.T) {
	bothWays(t, func(t *testing.T, o Options) {
		s := openStore(t, t.TempDir(), o)
		var agents []Agent
		for tokens := 1; tokens <= 13; tokens++ { // also blocks that are partly filled
			agents = append(agents, makeAgent("acme", fmt.Sprint("agent ", tokens), 1, tokens))
		}
		write(t, s, agents...)
		wantServed(t, s, agents...)
		s = reopen(t, s, o)
		wantServed(t, s, agents...)
		wantAccounts(t, s)
		if r := s.Report(); r.Agents != 13 || r.Quarantined+r.Temporary+r.Others+r.Unreadable+r.Expired != 0 {
			t.Fatalf("found %+v", r)
		}
	})
}

func TestNewerStateTakesTheOldOnesPlace(t *testing.T) {
	bothWays(t, func(t *testing.T, o Options) {
		s := openStore(t, t.TempDir(), o)
		old, grown, shrunk := makeAgent("acme", "a", 1, 9), makeAgent("acme", "a", 2, 20), makeAgent("acme", "a", 3, 2)
		for _, a := range []Agent{old, grown, shrunk} {
			write(t, s, a)
			wantServed(t, s, a)
			wantAccounts(t, s)
		}
		wantServed(t, reopen(t, s, o), shrunk)
	})
}

func TestSomeBlocksCanBeReadAlone(t *testing.T) {
	bothWays(t, func(t *testing.T, o Options) {
		s := openStore(t, t.TempDir(), o)
		a := makeAgent("acme", "a", 1, 20)
		write(t, s, a)
		r, err := s.OpenAgent("acme", "a")
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		for first := range a.Blocks {
			for last := first; last <= len(a.Blocks); last++ {
				dst := make([][]byte, last-first)
				for i := range dst {
					dst[i] = make([]byte, smallGeometry.BlockBytes)
				}
				if err := r.Restore(context.Background(), first, dst); err != nil {
					t.Fatal(err)
				}
				for i := range dst {
					if !bytes.Equal(dst[i], a.Blocks[first+i]) {
						t.Fatalf("block %d of %d to %d is another", first+i, first, last)
					}
				}
			}
		}
		if err := r.Restore(context.Background(), 4, make([][]byte, 2)); err == nil {
			t.Fatal("a block beyond the last was read")
		}
		if err := r.Restore(context.Background(), 0, [][]byte{make([]byte, 1)}); err == nil {
			t.Fatal("a block was read into a single byte")
		}
	})
}

func TestReaderSeesOneWholeFileWhileItIsReplacedOrDeleted(t *testing.T) {
	bothWays(t, func(t *testing.T, o Options) {
		s := openStore(t, t.TempDir(), o)
		old := makeAgent("acme", "a", 1, 20)
		write(t, s, old)
		r, err := s.OpenAgent("acme", "a")
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		write(t, s, makeAgent("acme", "a", 2, 20))
		if err := s.Delete(context.Background(), "acme", "a"); err != nil {
			t.Fatal(err)
		}
		got := makeAgent("acme", "a", 3, 20)
		if err := r.Restore(context.Background(), 0, got.Blocks); err != nil {
			t.Fatal(err)
		}
		got.Tokens = r.Tokens()
		if !equal(got, old) {
			t.Fatal("the reader does not see the file that it opened")
		}
		wantNone(t, s, "acme", "a")
	})
}

func TestListTellsWhatIsOnDisk(t *testing.T) {
	c := newClock()
	o := small(nil)
	o.Now, o.TTL = c.now, time.Hour
	s := openStore(t, t.TempDir(), o)
	born := c.t
	write(t, s, makeAgent("b", "2", 1, 5), makeAgent("a", "9", 1, 5), makeAgent("b", "1", 1, 9))
	c.add(time.Minute)
	write(t, s, makeAgent("b", "1", 2, 6))
	c.add(time.Minute)
	wantServed(t, s, makeAgent("a", "9", 1, 5))
	for range 2 {
		if got := ids(s); got != "a/9 b/1 b/2" {
			t.Fatalf("listed: %s", got)
		}
		for i, want := range []Info{
			{Tenant: "a", ID: "9", Tokens: 5, Created: born, LastUse: born.Add(2 * time.Minute)},
			{Tenant: "b", ID: "1", Tokens: 6, Created: born, LastUse: born.Add(time.Minute)},
			{Tenant: "b", ID: "2", Tokens: 5, Created: born, LastUse: born},
		} {
			file, err := os.Stat(s.path(want.Tenant, want.ID))
			if err != nil {
				t.Fatal(err)
			}
			want.Bytes, want.Expires = file.Size(), want.LastUse.Add(time.Hour)
			if got := s.List()[i]; got != want {
				t.Fatalf("listed %+v, want %+v", got, want)
			}
			if got, ok := s.Get(want.Tenant, want.ID); !ok || got != want {
				t.Fatalf("got %+v, want %+v", got, want)
			}
		}
		s = reopen(t, s, o)
	}
	if _, ok := s.Get("a", "1"); ok {
		t.Fatal("got an agent that was never written")
	}
}

func TestDeleteLeavesNothingAndClearLeavesNobody(t *testing.T) {
	bothWays(t, func(t *testing.T, o Options) {
		ctx := context.Background()
		s := openStore(t, t.TempDir(), o)
		write(t, s, makeAgent("acme", "a", 1, 5), makeAgent("acme", "b", 1, 5), makeAgent("other", "a", 1, 5))
		if err := s.Delete(ctx, "acme", "a"); err != nil {
			t.Fatal(err)
		}
		if err := s.Delete(ctx, "acme", "a"); !errors.Is(err, ErrNotFound) {
			t.Fatalf("deleted twice: %v", err)
		}
		wantNone(t, s, "acme", "a")
		wantAccounts(t, s)
		s = reopen(t, s, o)
		if got := ids(s); got != "acme/b other/a" {
			t.Fatalf("left: %s", got)
		}
		if n, err := s.Clear(ctx); n != 2 || err != nil {
			t.Fatalf("cleared %d, %v", n, err)
		}
		if got := ids(reopen(t, s, o)); got != "" {
			t.Fatalf("left: %s", got)
		}
	})
}

func TestOnlyOneProcessUsesAFolder(t *testing.T) {
	dir := t.TempDir()
	child := role("hold", dir)
	stdin, err := child.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := stdout.Read(make([]byte, 5)); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir, small(nil)); !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), dir) {
		t.Errorf("opened while another process has it: %v", err)
	}
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = child.Wait()
	stdin.Close()
	s := openStore(t, dir, small(nil))
	if _, err := Open(dir, small(nil)); !errors.Is(err, ErrLocked) {
		t.Errorf("opened twice in one process: %v", err)
	}
	reopen(t, s, small(nil))
}

// holdStore is the child: it has the folder open until it is killed.
func holdStore() {
	if _, err := Open(os.Args[1], small(nil)); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println("held")
	_, _ = os.Stdin.Read(make([]byte, 1))
}

func TestWhatCannotBeStoredIsRefused(t *testing.T) {
	o := counted(small(nil))
	s := openStore(t, t.TempDir(), o)
	good := makeAgent("acme", "a", 1, 5)
	for what, spoil := range map[string]func(*Agent){
		"long tenant": func(a *Agent) { a.Tenant = strings.Repeat("x", maxName+1) },
		"long id":     func(a *Agent) { a.ID = strings.Repeat("x", maxName+1) },
		"no tokens":   func(a *Agent) { a.Tokens, a.Blocks = nil, nil },
		"few blocks":  func(a *Agent) { a.Blocks = a.Blocks[:1] },
		"many blocks": func(a *Agent) { a.Blocks = append(a.Blocks, a.Blocks[0]) },
		"short block": func(a *Agent) { a.Blocks = [][]byte{a.Blocks[0], a.Blocks[1][1:]} },
	} {
		a := good
		spoil(&a)
		if err := s.Write(context.Background(), a); reasonOf(err) != Invalid {
			t.Errorf("%s: %v", what, err)
		}
	}
	if n := o.Metrics.failures[Invalid].Get(); n != 6 {
		t.Errorf("%d failures are counted", n)
	}
	for what, spoil := range map[string]func(*Options){
		"--cache-key-file": func(o *Options) { o.Key = make([]byte, 31) },
		"--cache-disk":     func(o *Options) { o.Quota = -1 },
		"--cache-ttl":      func(o *Options) { o.TTL = -1 },
		"KV type":          func(o *Options) { o.KVType = "../x" },
		"shape":            func(o *Options) { o.Geometry.BlockTokens = 0 },
	} {
		bad := small(nil)
		spoil(&bad)
		if _, err := Open(t.TempDir(), bad); err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func reasonOf(err error) Reason {
	if we, ok := errors.AsType[*WriteError](err); ok {
		return we.Reason
	}
	return ""
}

func TestManyWriteReadAndDeleteAtOnce(t *testing.T) {
	bothWays(t, func(t *testing.T, o Options) {
		o = unsynced(o)
		o.Quota = 20_000
		s := openStore(t, t.TempDir(), o)
		const versions = 8
		valid := map[string][]Agent{}
		for i := range 6 {
			for v := range versions {
				id := fmt.Sprint(i)
				valid[id] = append(valid[id], makeAgent("acme", id, v, 4+30*v))
			}
		}
		var wg sync.WaitGroup
		for worker := range 8 {
			wg.Go(func() {
				for n := range 150 {
					id := fmt.Sprint((worker + n) % 6)
					switch n % 5 {
					case 0, 1:
						if err := s.Write(context.Background(), valid[id][(worker*n)%versions]); err != nil && reasonOf(err) != Quota && !errors.Is(err, ErrDeleted) {
							t.Error(err)
						}
					case 2, 3:
						got, err := read(s, "acme", id)
						if errors.Is(err, ErrNotFound) {
							break
						}
						whole := false
						for _, a := range valid[id] {
							whole = whole || equal(got, a)
						}
						if err != nil || !whole {
							t.Errorf("agent %s is served mixed: %v", id, err)
						}
					case 4:
						if err := s.Delete(context.Background(), "acme", id); err != nil && !errors.Is(err, ErrNotFound) {
							t.Error(err)
						}
						s.List()
					}
				}
			})
		}
		wg.Wait()
		wantAccounts(t, s)
		if s.Used() > o.Quota {
			t.Errorf("%d bytes are used of %d", s.Used(), o.Quota)
		}
		if r := reopen(t, s, o).Report(); r.Quarantined+r.Temporary != 0 {
			t.Errorf("left behind: %+v", r)
		}
	})
}
