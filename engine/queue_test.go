package engine

import (
	"slices"
	"testing"
)

// waiting returns the tenants in the order in which their requests would be taken.
func taken(q *fairQueue[*sequence]) []string {
	var order []string
	for s := q.next(); s != nil; s = q.next() {
		order = append(order, s.tenant)
		q.pop()
	}
	return order
}

func queueOf(tenants ...string) *fairQueue[*sequence] {
	q := &fairQueue[*sequence]{}
	for i, t := range tenants {
		q.push(&sequence{tenant: t, most: i})
	}
	return q
}

func TestQueueGivesTurnsByTenant(t *testing.T) {
	got := taken(queueOf("a", "a", "a", "b", "c", "b"))
	if want := []string{"a", "b", "c", "a", "b", "a"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestQueueKeepsATenantsOwnOrder(t *testing.T) {
	q := queueOf("a", "a", "b", "a")
	var order []int
	for s := q.next(); s != nil; s = q.next() {
		order = append(order, s.most)
		q.pop()
	}
	if want := []int{0, 2, 1, 3}; !slices.Equal(order, want) {
		t.Errorf("got %v, want %v", order, want)
	}
}

func TestFullQueueYieldsTheNewestOfTheGreediest(t *testing.T) {
	q := queueOf("a", "b", "b", "b")
	if s := q.yield("c"); s == nil || s.tenant != "b" || s.most != 3 {
		t.Errorf("got %+v", s)
	}
	if s := q.yield("b"); s != nil {
		t.Errorf("b made room for itself: %+v", s)
	}
	if s := q.yield("a"); s != nil {
		t.Errorf("a has one of b's two and would have as many: %+v", s)
	}
	if q.len() != 3 || len(taken(q)) != 3 {
		t.Errorf("size %d", q.len())
	}
}

func TestRemovedRequestsLeaveTheTurnsWhole(t *testing.T) {
	q := queueOf("a", "b", "a", "c")
	out := q.remove(func(s *sequence) bool { return s.tenant == "b" || s.most == 0 })
	if len(out) != 2 || q.len() != 2 {
		t.Errorf("removed %d, %d stay", len(out), q.len())
	}
	if got := taken(q); !slices.Equal(got, []string{"a", "c"}) {
		t.Errorf("got %v", got)
	}
}
