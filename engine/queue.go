package engine

import (
	"slices"
	"sync/atomic"
)

// waiter is a request that can wait for its turn.
type waiter interface {
	comparable
	owner() string // the tenant whose it is
}

// fairQueue holds the requests that wait. Tenants take turns: one with a thousand
// requests delays another's single one by one of its own at most. A tenant's own
// requests keep their order.
type fairQueue[W waiter] struct {
	lanes []*lane[W]   // in the order of their turns; none is empty
	size  atomic.Int64 // of all lanes; len may be called by whoever does not hold the queue
}

// lane is what one tenant has waiting, the oldest first.
type lane[W waiter] struct {
	tenant  string
	waiting []W
}

// len returns how many requests wait.
func (q *fairQueue[W]) len() int { return int(q.size.Load()) }

func (q *fairQueue[W]) push(s W) {
	q.size.Add(1)
	for _, l := range q.lanes {
		if l.tenant == s.owner() {
			l.waiting = append(l.waiting, s)
			return
		}
	}
	q.lanes = append(q.lanes, &lane[W]{tenant: s.owner(), waiting: []W{s}})
}

// next returns the request whose turn it is without taking it out; the zero W if
// none waits.
func (q *fairQueue[W]) next() W {
	var none W
	if q.len() == 0 {
		return none
	}
	return q.lanes[0].waiting[0]
}

// pop takes out what next returned and passes the turn on.
func (q *fairQueue[W]) pop() {
	var none W
	l := q.lanes[0]
	l.waiting[0] = none
	l.waiting = l.waiting[1:]
	q.size.Add(-1)
	q.lanes = append(q.lanes[:0], q.lanes[1:]...)
	if len(l.waiting) > 0 {
		q.lanes = append(q.lanes, l)
	}
}

// waiting returns how many requests the tenant has in the queue.
func (q *fairQueue[W]) waiting(tenant string) int {
	for _, l := range q.lanes {
		if l.tenant == tenant {
			return len(l.waiting)
		}
	}
	return 0
}

// yield takes the newest request out of the longest lane, if that lane is longer
// than the tenant's would be with one more. So a full queue of one tenant's does
// not lock the others out.
func (q *fairQueue[W]) yield(tenant string) W {
	var none W
	var longest *lane[W]
	for _, l := range q.lanes {
		if longest == nil || len(l.waiting) > len(longest.waiting) {
			longest = l
		}
	}
	if longest == nil || len(longest.waiting) <= q.waiting(tenant)+1 {
		return none
	}
	last := len(longest.waiting) - 1
	s := longest.waiting[last]
	longest.waiting[last] = none
	longest.waiting = longest.waiting[:last]
	q.size.Add(-1)
	return s
}

// remove takes out every request for which f says so and returns them.
func (q *fairQueue[W]) remove(f func(W) bool) []W {
	var out []W
	for _, l := range q.lanes {
		l.waiting = slices.DeleteFunc(l.waiting, func(s W) bool {
			gone := f(s)
			if gone {
				out = append(out, s)
			}
			return gone
		})
	}
	q.lanes = slices.DeleteFunc(q.lanes, func(l *lane[W]) bool { return len(l.waiting) == 0 })
	q.size.Add(-int64(len(out)))
	return out
}
