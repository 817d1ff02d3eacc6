package limit

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"time"
)

func TestFailedLoginsAreSlowedAndForgiven(t *testing.T) {
	f, addr := NewFailures(start, 10), netip.MustParseAddr("203.0.113.7")
	for i := range 5 {
		if hold, retry := f.Failed(start, addr); hold != 0 || retry != 0 {
			t.Errorf("failure %d: held for %v, retry %v", i+1, hold, retry)
		}
	}
	for i := range 5 {
		if hold, retry := f.Failed(start, addr); hold != time.Duration(i+1)*time.Second || retry != 0 {
			t.Errorf("failure %d: held for %v, retry %v", i+6, hold, retry)
		}
	}
	for range 100 {
		if hold, retry := f.Failed(start, addr); hold != 0 || retry != time.Second {
			t.Fatalf("one too many: held for %v, retry %v", hold, retry)
		}
	}
	if hold, retry := f.Failed(start.Add(time.Second), addr); hold != 5*time.Second || retry != 0 {
		t.Errorf("came when told: held for %v, retry %v", hold, retry)
	}
	if hold, _ := f.Failed(start.Add(11*time.Second), addr); hold != 0 {
		t.Errorf("after a pause: held for %v", hold)
	}
}

func TestAnAttackerGetsOneAnswerASecond(t *testing.T) {
	f, addr := NewFailures(start, 10), netip.MustParseAddr("203.0.113.7")
	answered := 0
	for at := time.Duration(0); at < time.Minute; at += 10 * time.Millisecond {
		hold, retry := f.Failed(start.Add(at), addr)
		if retry == 0 && at+hold < time.Minute {
			answered++
		}
	}
	if answered < 60 || answered > 66 {
		t.Errorf("%d answers in a minute", answered)
	}
}

func TestAddressesAreSlowedApart(t *testing.T) {
	f := NewFailures(start, 10)
	fail := func(addr string, n int) (hold time.Duration) {
		for range n {
			hold, _ = f.Failed(start, netip.MustParseAddr(addr))
		}
		return hold
	}
	fail("203.0.113.7", 10)
	if hold := fail("203.0.113.8", 1); hold != 0 {
		t.Errorf("a neighbour was held for %v", hold)
	}
	if hold := fail("::ffff:203.0.113.7", 1); hold != 0 { // refused outright: it is the same address
		t.Errorf("held for %v", hold)
	}
	fail("2001:db8::1", 5)
	if hold := fail("2001:db8::ffff:1", 1); hold != time.Second {
		t.Errorf("another address of the same /64 was held for %v", hold)
	}
	if hold := fail("2001:db8:0:1::1", 1); hold != 0 {
		t.Errorf("another /64 was held for %v", hold)
	}
}

func TestAFloodOfAddressesTakesNoMemory(t *testing.T) {
	f, now := NewFailures(start, 1000), start
	var n uint32
	address := func() (a [4]byte) {
		binary.BigEndian.PutUint32(a[:], n)
		return a
	}
	allocs := testing.AllocsPerRun(100_000, func() {
		now = now.Add(time.Microsecond)
		n++
		f.Failed(now, netip.AddrFrom4(address()))
	})
	if allocs != 0 {
		t.Errorf("%v allocations an address", allocs)
	}
	if got := len(f.turns.entries); got != 1000 {
		t.Errorf("%d entries", got)
	}
	if hold, _ := f.Failed(now, netip.AddrFrom4(address())); hold != 0 {
		t.Errorf("the second failure of the last address was held for %v", hold)
	}
}
