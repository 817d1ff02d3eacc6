package limit

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

func TestUnchangedKeysKeepTheirStateOverAReload(t *testing.T) {
	table := NewTable(start, Options{})
	l := Limits{RequestsPerSecond: 1, Burst: 1, TokensPerMinute: 1000, MaxConcurrent: 3}
	old := table.Set(start, []Named{{"a", l}, {"b", l}})
	running := old[0].Admit(start, Need{Prompt: 900})
	old[0].Admit(start, Need{})
	next := table.Set(start, []Named{{"c", l}, {"a", l}})
	if d := next[1].Admit(start, Need{}); d.Reason != RequestRate || d.Tokens.Remaining != 100 {
		t.Errorf("a's line and budget: %+v", d)
	}
	if d := next[0].Admit(start, Need{Prompt: 900}); d.Reason != Admitted {
		t.Errorf("c is new: %+v", d)
	}
	running.Grant.Settle(start, 0) // begun under the old set
	if d := next[1].Peek(start, Need{}); d.Tokens.Remaining != 1000 {
		t.Errorf("the refund went astray: %+v", d)
	}
	back := table.Set(start, []Named{{"b", l}})
	if d := back[0].Admit(start, Need{}); d.Reason != Admitted {
		t.Errorf("b was gone and is new: %+v", d)
	}
}

func TestChangedLimitsCountWhatWasUsedBefore(t *testing.T) {
	table := NewTable(start, Options{})
	set := func(l Limits) *Key { return table.Set(start, []Named{{"a", l}})[0] }
	k := set(Limits{RequestsPerSecond: 1, Burst: 2, TokensPerMinute: 1000})
	for range 3 {
		k.Admit(start, Need{Prompt: 200}) // turns at 0 s, 1 s, 2 s
	}
	if d := set(Limits{RequestsPerSecond: 10, Burst: 30, TokensPerMinute: 700}).Admit(start, Need{}); d.Wait != 2100*time.Millisecond || d.Tokens.Remaining != 100 {
		t.Errorf("the next turn is not after those given: %+v", d)
	}
	if d := set(Limits{RequestsPerSecond: 10, Burst: 1, TokensPerMinute: 100}).Admit(start, Need{}); d.Reason != RequestRate || d.RetryAfter != 2100*time.Millisecond || k.budget.level != -100 {
		t.Errorf("a shorter line: %+v, level %d", d, k.budget.level)
	}
	if d := set(Limits{}).Admit(start, Need{Prompt: 1e6}); d.Reason != Admitted {
		t.Errorf("no limits: %+v", d)
	}
	if d := set(Limits{TokensPerMinute: 50}).Admit(start, Need{Prompt: 50}); d.Reason != Admitted {
		t.Errorf("a budget where there was none: %+v", d)
	}
}

func TestIssuedKeysAreRememberedUpToABound(t *testing.T) {
	table := NewTable(start, Options{MostIssued: 3})
	l := Limits{RequestsPerSecond: 1}
	for _, name := range []string{"a", "b", "c"} {
		table.Issued(start, name, l).Admit(start, Need{})
	}
	if d := table.Issued(start, "a", l).Peek(start, Need{}); d.Reason != RequestRate {
		t.Errorf("a: %+v", d)
	}
	table.Issued(start, "d", l) // in b's place
	for name, want := range map[string]Reason{"a": RequestRate, "c": RequestRate} {
		if d := table.Issued(start, name, l).Peek(start, Need{}); d.Reason != want {
			t.Errorf("%s: %+v", name, d)
		}
	}
	if d := table.Issued(start, "b", l).Peek(start, Need{}); d.Reason != Admitted {
		t.Errorf("b: %+v", d)
	}
	if d := table.Issued(start, "c", Limits{}).Peek(start, Need{}); d.Reason != Admitted {
		t.Errorf("c under other limits: %+v", d)
	}
}

// TestLRUForgetsTheOldest runs random keys beside a list.
func TestLRUForgetsTheOldest(t *testing.T) {
	const size = 50
	l, r := newLRU[int, int](size), rand.New(rand.NewPCG(11, 12))
	var recent []int
	for i := range 20_000 {
		key := r.IntN(90)
		v, fresh := l.get(key)
		at := slices.Index(recent, key)
		if fresh != (at < 0) || !fresh && *v != key {
			t.Fatalf("step %d: key %d: fresh %v, value %d", i, key, fresh, *v)
		}
		*v = key
		if at >= 0 {
			recent = slices.Delete(recent, at, at+1)
		}
		recent = append(recent, key)
		if len(recent) > size {
			recent = recent[1:]
		}
	}
}

func BenchmarkIssued(b *testing.B) {
	table, names := NewTable(start, Options{}), make([]string, 10_000)
	for i := range names {
		names[i] = fmt.Sprint("key-", i)
	}
	i := 0
	b.ReportAllocs()
	for b.Loop() {
		i += 7919
		table.Issued(start, names[i%len(names)], Limits{RequestsPerSecond: 1})
	}
}
