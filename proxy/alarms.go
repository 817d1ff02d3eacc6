package proxy

import (
	"container/heap"
	"time"
)

// alarm is a time that something is to happen at. Most are put off again and again
// and never ring, so putting one off only notes the later time: when the earlier one
// comes, it is set anew.
type alarm struct {
	ring  func()
	owner *guest // whose it is; may be nil

	wanted, set time.Time
	place       int // in the heap, from 1 on; 0 is not there
}

// alarms are those of a loop, the first one to be looked at first.
type alarms struct{ heap alarmHeap }

// put has a ring at t, instead of when it was to before. The zero time is never.
func (s *alarms) put(a *alarm, t time.Time) {
	a.wanted = t
	switch {
	case t.IsZero() || a.place > 0 && !t.Before(a.set):
	case a.place > 0:
		a.set = t
		heap.Fix(&s.heap, a.place-1)
	default:
		a.set = t
		heap.Push(&s.heap, a)
	}
}

// drop takes it out.
func (s *alarms) drop(a *alarm) {
	a.wanted = time.Time{}
	if a.place > 0 {
		heap.Remove(&s.heap, a.place-1)
	}
}

// next is when to look again; zero is never.
func (s *alarms) next() time.Time {
	if len(s.heap) == 0 {
		return time.Time{}
	}
	return s.heap[0].set
}

// due returns an alarm that is to ring by now, and takes it out; nil if there is none.
func (s *alarms) due(now time.Time) *alarm {
	for len(s.heap) > 0 && !now.Before(s.heap[0].set) {
		a := s.heap[0]
		if !a.wanted.IsZero() && now.Before(a.wanted) {
			a.set = a.wanted
			heap.Fix(&s.heap, 0)
			continue
		}
		heap.Pop(&s.heap)
		if !a.wanted.IsZero() {
			a.wanted = time.Time{}
			return a
		}
	}
	return nil
}

type alarmHeap []*alarm

func (h alarmHeap) Len() int           { return len(h) }
func (h alarmHeap) Less(i, j int) bool { return h[i].set.Before(h[j].set) }
func (h alarmHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].place, h[j].place = i+1, j+1
}

// Push is heap's.
func (h *alarmHeap) Push(v any) {
	a := v.(*alarm)
	*h = append(*h, a)
	a.place = len(*h)
}

// Pop is heap's.
func (h *alarmHeap) Pop() any {
	old := *h
	a := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	a.place = 0
	return a
}
