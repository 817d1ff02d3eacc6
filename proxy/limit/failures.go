package limit

import (
	"net/netip"
	"sync"
	"time"
)

// Failures slows down who tries keys: a few failed logins of an address are
// answered at once, those after them one by one, with a pause between. A key cannot
// be guessed anyway; this bounds what guessing costs us.
//
// It says how long to hold the answer to a failure back. A login with a good key is
// never held, so that one client does not shut out the others behind the same
// address.
type Failures struct {
	epoch time.Time

	mu    sync.Mutex
	turns *lru[prefix, int64] // when the address has the pauses of its failures behind it
}

// How failures are slowed.
const (
	freeFailures = 5
	failurePause = time.Second
	longestHold  = 5 * time.Second
)

// prefix is an IPv4 address or the /64 of an IPv6 one, which is what one customer
// has at least.
type prefix [16]byte

func prefixOf(addr netip.Addr) prefix {
	addr = addr.Unmap()
	p := prefix(addr.As16())
	if !addr.Is4() {
		clear(p[8:])
	}
	return p
}

// NewFailures remembers as many addresses as told, in memory that does not grow
// (about 50 bytes each); of more it forgets those that failed longest ago.
func NewFailures(now time.Time, addresses int) *Failures {
	return &Failures{epoch: now, turns: newLRU[prefix, int64](max(1, addresses))}
}

// Failed counts a failed login and says how long to hold its answer back. With
// retryAfter above 0 as many answers are being held for the address as it may have:
// this one should go out at once, as 429, and the failure does not count.
func (f *Failures) Failed(now time.Time, addr netip.Addr) (hold, retryAfter time.Duration) {
	at := int64(now.Sub(f.epoch))
	f.mu.Lock()
	defer f.mu.Unlock()
	turn, _ := f.turns.get(prefixOf(addr))
	ahead := time.Duration(max(0, *turn-at))
	hold = max(0, ahead-(freeFailures-1)*failurePause)
	if hold > longestHold {
		return 0, hold - longestHold
	}
	*turn = at + int64(ahead+failurePause)
	return hold, 0
}
