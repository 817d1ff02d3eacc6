package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"
	"time"
)

// smallSize is what an agent of 10 tokens, tenant "acme" and a name of one letter takes.
func smallSize(t testing.TB, o Options) int64 {
	t.Helper()
	s := openStore(t, t.TempDir(), o)
	write(t, s, makeAgent("acme", "x", 1, 10))
	return s.Used()
}

func TestQuotaEvictsWhatWasUsedLongestAgo(t *testing.T) {
	bothWays(t, func(t *testing.T, o Options) {
		c := newClock()
		size := smallSize(t, o)
		o = counted(o)
		o.Now, o.Quota = c.now, 4*size
		s := openStore(t, t.TempDir(), o)
		put := func(id string) {
			t.Helper()
			c.add(time.Second)
			write(t, s, makeAgent("acme", id, 1, 10))
			wantAccounts(t, s)
			if s.Used() > o.Quota {
				t.Fatalf("%d bytes are used of %d", s.Used(), o.Quota)
			}
		}
		for _, id := range []string{"a", "b", "c"} {
			put(id)
		}
		c.add(time.Second)
		wantServed(t, s, makeAgent("acme", "a", 1, 10)) // used: b is the oldest now
		put("d")
		put("e")
		if got := ids(s); got != "acme/a acme/c acme/d acme/e" {
			t.Fatalf("left: %s", got)
		}
		s = reopen(t, s, o) // the order of use outlives a restart
		put("f")
		if got := ids(s); got != "acme/a acme/d acme/e acme/f" {
			t.Fatalf("left: %s", got)
		}
		put("g")
		if got := ids(s); got != "acme/d acme/e acme/f acme/g" {
			t.Fatalf("left: %s", got)
		}
		if n := o.Metrics.evicted.Get(); n != 3 {
			t.Errorf("%d evictions are counted", n)
		}
		o.Quota = 2 * size
		s = reopen(t, s, o)
		if got := ids(s); got != "acme/f acme/g" {
			t.Fatalf("after the quota became smaller there is %s", got)
		}
	})
}

func TestReplacedFileIsGivenUpOnlyIfNothingElseCan(t *testing.T) {
	o := counted(small(nil))
	o.Quota = smallSize(t, o) * 3 / 2
	s := openStore(t, t.TempDir(), o)
	for v := range 3 {
		write(t, s, makeAgent("acme", "a", v, 10))
		wantServed(t, s, makeAgent("acme", "a", v, 10))
		wantAccounts(t, s)
	}
	err := s.Write(context.Background(), makeAgent("acme", "b", 1, 100))
	if reasonOf(err) != Quota || o.Metrics.failures[Quota].Get() != 1 {
		t.Fatalf("an agent larger than the quota: %v", err)
	}
	wantServed(t, s, makeAgent("acme", "a", 2, 10)) // nothing was evicted for it
}

func TestFlushKeepsTheOrderOfUseAndNotOfWriting(t *testing.T) {
	c := newClock()
	o := small(nil)
	o.Now, o.Quota = c.now, 3*smallSize(t, o)
	s := openStore(t, t.TempDir(), o)
	for i, id := range []string{"c", "b", "a"} {
		a := makeAgent("acme", id, 1, 10)
		a.LastUse = c.t.Add(-time.Duration(i) * time.Hour)
		write(t, s, a)
	}
	for range 2 { // a was written last and used longest ago
		s = reopen(t, s, o)
	}
	write(t, s, makeAgent("acme", "d", 1, 10))
	if got := ids(s); got != "acme/b acme/c acme/d" {
		t.Fatalf("left: %s", got)
	}
}

func TestExpiredAgentIsNeverServedAndIsDeleted(t *testing.T) {
	bothWays(t, func(t *testing.T, o Options) {
		c := newClock()
		o = counted(o)
		o.Now, o.TTL = c.now, time.Hour
		s := openStore(t, t.TempDir(), o)
		write(t, s, makeAgent("acme", "a", 1, 10), makeAgent("acme", "b", 1, 10))
		c.add(59 * time.Minute)
		wantServed(t, s, makeAgent("acme", "b", 1, 10))
		c.add(time.Minute)
		wantNone(t, s, "acme", "a")
		if got := ids(s); got != "acme/b" {
			t.Fatalf("listed: %s", got)
		}
		if n := s.Sweep(); n != 1 || s.Sweep() != 0 {
			t.Fatalf("%d files were swept", n)
		}
		if _, err := os.Stat(s.path("acme", "a")); !errors.Is(err, os.ErrNotExist) {
			t.Fatalf("the expired file is still there: %v", err)
		}
		s = reopen(t, s, o)
		c.add(58 * time.Minute)
		wantServed(t, s, makeAgent("acme", "b", 1, 10))
		c.add(time.Hour)
		s = reopen(t, s, o)
		if r := s.Report(); r.Expired != 1 || r.Agents != 0 || s.Used() != 0 {
			t.Fatalf("found %+v", r)
		}
		if n := o.Metrics.expired.Get(); n != 2 {
			t.Errorf("%d are counted", n)
		}
	})
}

func TestTheShorterTimeToLiveHolds(t *testing.T) {
	c := newClock()
	o := small(nil)
	o.Now, o.TTL = c.now, time.Hour
	s := openStore(t, t.TempDir(), o)
	write(t, s, makeAgent("acme", "a", 1, 10))
	for _, ttl := range []time.Duration{0, 2 * time.Hour, time.Minute} {
		o.TTL = ttl
		s = reopen(t, s, o)
		info, ok := s.Get("acme", "a")
		want := info.LastUse.Add(shorter(ttl, time.Hour))
		if !ok || !info.Expires.Equal(want) {
			t.Errorf("with --cache-ttl=%s it expires at %s, not %s", ttl, info.Expires, want)
		}
	}
}

func TestOtherModelsFilesExpireAndAreEvictedToo(t *testing.T) {
	c := newClock()
	dir := t.TempDir()
	o := small(nil)
	o.Now = c.now
	s := openStore(t, dir, o)
	write(t, s, makeAgent("acme", "a", 1, 10), makeAgent("acme", "b", 1, 10))
	s.Close()
	c.add(time.Hour)
	o.Fingerprint[0]++
	o.Quota = smallSize(t, o) * 2
	s = openStore(t, dir, o)
	write(t, s, makeAgent("acme", "a", 2, 10))
	wantAccounts(t, s)
	if r := reopen(t, s, o).Report(); r.Others != 1 || r.Agents != 1 {
		t.Fatalf("left: %+v", r)
	}
}

func TestQuarantineIsBounded(t *testing.T) {
	c := newClock()
	o := counted(unsynced(small(nil)))
	o.Now, o.TTL = c.now, time.Hour
	s := openStore(t, t.TempDir(), o)
	for i := range maxShelved + 10 {
		a := makeAgent("acme", fmt.Sprint(i), 1, 10)
		write(t, s, a)
		spoil(t, s, a, []byte("bad"))
		c.add(time.Second)
		if _, err := read(s, "acme", a.ID); !isBad(err, Torn) {
			t.Fatal(err)
		}
	}
	shelf := func() int {
		files, err := os.ReadDir(s.shelfFolder())
		if err != nil {
			t.Fatal(err)
		}
		return len(files)
	}
	if shelf() != maxShelved || o.Metrics.quarantined[Torn].Get() != maxShelved+10 {
		t.Fatalf("%d files lie there", shelf())
	}
	s = reopen(t, s, o)
	if err := s.Delete(context.Background(), "acme", fmt.Sprint(maxShelved)); err != nil || shelf() != maxShelved-1 {
		t.Fatalf("deleting an agent left what was put aside of it: %v", err)
	}
	c.add(time.Hour - 5*time.Second)
	s.Sweep()
	if shelf() != 5 {
		t.Fatalf("%d files lie there after an hour", shelf())
	}
	c.add(time.Hour)
	if s = reopen(t, s, o); shelf() != 0 || s.Used() != 0 {
		t.Fatalf("%d files lie there, %d bytes", shelf(), s.Used())
	}
}

func TestQuarantineMakesRoomFirst(t *testing.T) {
	o := counted(small(nil))
	o.Quota = 2 * smallSize(t, o)
	s := openStore(t, t.TempDir(), o)
	write(t, s, makeAgent("acme", "a", 1, 10), makeAgent("acme", "b", 1, 10))
	spoil(t, s, makeAgent("acme", "b", 1, 10), flip(content(t, s, makeAgent("acme", "b", 1, 10)), 250))
	wantBad(t, s, "acme", "b", Checksum)
	wantAccounts(t, s)
	write(t, s, makeAgent("acme", "c", 1, 10))
	if got := ids(s); got != "acme/a acme/c" {
		t.Fatalf("left: %s", got)
	}
	wantAccounts(t, s)
}
