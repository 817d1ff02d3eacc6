package limit

import (
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"testing"
	"time"
	"unsafe"
)

// TestRetryAfterIsTrue tries random keys and needs: who was refused and comes when
// it was told is admitted, who comes a little sooner is not.
func TestRetryAfterIsTrue(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 10))
	refused := map[Reason]int{}
	for range 3000 {
		k := keyWith(Limits{RequestsPerSecond: 0.1 + 50*r.Float64(), Burst: r.IntN(5), TokensPerMinute: 1000 + r.Int64N(1e5)})
		need := Need{Prompt: r.Int64N(800), Completion: r.Int64N(5000), Patience: time.Duration(r.Int64N(int64(time.Second)))}
		now := start
		for range 1 + r.IntN(50) {
			d := k.Admit(now, need)
			if d.Reason == Admitted {
				now = now.Add(time.Duration(r.Int64N(int64(100 * time.Millisecond))))
				continue
			}
			refused[d.Reason]++
			if d.RetryAfter <= 0 {
				t.Fatalf("%+v", d)
			}
			if early := k.Peek(now.Add(d.RetryAfter-1), need); early.Reason == Admitted {
				t.Fatalf("%+v: was admitted sooner than told: %+v", d, early)
			}
			now = now.Add(d.RetryAfter)
			if late := k.Admit(now, need); late.Reason != Admitted {
				t.Fatalf("%+v: came when told and was refused: %+v", d, late)
			}
		}
	}
	for _, reason := range []Reason{RequestRate, TokenBudget} {
		if refused[reason] < 100 {
			t.Errorf("%s refused only %d times: the schedules are too tame", reason, refused[reason])
		}
	}
}

func TestNoMoreRequestsAtOnceThanTheLimit(t *testing.T) {
	k := keyWith(Limits{MaxConcurrent: 2})
	a, b := k.Admit(start, Need{}), k.Admit(start, Need{})
	if d := k.Admit(start, Need{}); d.Reason != Concurrency || d.RetryAfter != time.Second {
		t.Fatalf("the third: %+v", d)
	}
	for range 2 {
		a.Grant.Settle(start, 0) // once counts
	}
	if d := k.Admit(start, Need{}); d.Reason != Admitted {
		t.Errorf("one has ended: %+v", d)
	}
	if d := k.Admit(start, Need{}); d.Reason != Concurrency {
		t.Errorf("a place was freed twice: %+v", d)
	}
	b.Grant.Settle(start, 0)
	var refused Decision
	refused.Grant.Settle(start, 0)
}

func TestOneRefusalTakesFromNoLimit(t *testing.T) {
	k := keyWith(Limits{RequestsPerSecond: 1, Burst: 5, TokensPerMinute: 1000, MaxConcurrent: 5})
	first := k.Admit(start, Need{Prompt: 900})
	for range 10 {
		if d := k.Admit(start, Need{Prompt: 500}); d.Reason != TokenBudget {
			t.Fatalf("%+v", d)
		}
		if d := k.Peek(start, Need{Prompt: 1}); d.Reason != Admitted {
			t.Fatalf("%+v", d)
		}
	}
	if d := k.Peek(start, Need{}); d.Requests.Remaining != 5 || d.Tokens.Remaining != 100 || k.running != 1 {
		t.Errorf("%+v, %d running", d, k.running)
	}
	first.Grant.Settle(start, 900)
}

// TestManyAtOnceAddUp holds the sums when goroutines race for one key.
func TestManyAtOnceAddUp(t *testing.T) {
	const limit, perMinute = 8, int64(100_000)
	k := keyWith(Limits{MaxConcurrent: limit, TokensPerMinute: perMinute, RequestsPerSecond: 1e6, Burst: 1e6})
	var mu sync.Mutex
	running, used := 0, int64(0)
	var wg sync.WaitGroup
	for g := range 16 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(g), 0))
			for range 1000 {
				d := k.Admit(start, Need{Prompt: 5, Completion: 5})
				if d.Reason != Admitted {
					continue
				}
				mu.Lock()
				running++
				if running > limit {
					t.Errorf("%d at once", running)
				}
				mu.Unlock()
				n := r.Int64N(11)
				mu.Lock()
				running--
				used += n
				mu.Unlock()
				d.Grant.Settle(start, n)
			}
		})
	}
	wg.Wait()
	if k.running != 0 || k.budget.level != perMinute-used || used == 0 {
		t.Errorf("%d still running; %d left of %d after %d were used", k.running, k.budget.level, perMinute, used)
	}
}

func TestUsedIsThatOfTheTightestLimit(t *testing.T) {
	k := keyWith(Limits{RequestsPerSecond: 1, Burst: 3, TokensPerMinute: 1000, MaxConcurrent: 10})
	if got := k.Used(start); got != 0 {
		t.Errorf("idle: %v", got)
	}
	k.Admit(start, Need{Prompt: 100})
	if got := k.Used(start); got != 0.25 {
		t.Errorf("one of four turns: %v", got)
	}
	k.Admit(start, Need{Prompt: 500})
	if got := k.Used(start); got != 0.6 {
		t.Errorf("600 of 1,000 tokens: %v", got)
	}
}

func TestKeyWithoutLimitsHasNoStanding(t *testing.T) {
	d := keyWith(Limits{}).Admit(start, Need{Prompt: 1 << 60})
	if d.Reason != Admitted || d.Wait != 0 || d.Allowance != -1 || d.Requests != (Standing{}) || d.Tokens != (Standing{}) {
		t.Errorf("%+v", d)
	}
}

func TestBadLimitsAreNamed(t *testing.T) {
	nan := 0.0
	nan /= nan
	for want, l := range map[string]Limits{
		"requests_per_second: -1":              {RequestsPerSecond: -1},
		"requests_per_second: NaN":             {RequestsPerSecond: nan},
		"requests_per_second: 2e+06":           {RequestsPerSecond: 2e6},
		"burst: -1":                            {RequestsPerSecond: 1, Burst: -1},
		"burst: 3 means nothing":               {Burst: 3},
		"burst: the last of 1000":              {RequestsPerSecond: 0.001, Burst: 1000},
		"tokens_per_minute: -5":                {TokensPerMinute: -5},
		"max_concurrent: 2000000 is out of ra": {MaxConcurrent: 2e6},
	} {
		if err := l.Validate(); err == nil || len(err.Error()) < len(want) || err.Error()[:len(want)] != want {
			t.Errorf("%+v: %v, want %s", l, err, want)
		}
	}
	if err := (Limits{5, 10, 60000, 4}).Validate(); err != nil {
		t.Error(err)
	}
}

func TestKeyTakesTwoLinesOfTheCache(t *testing.T) {
	if got := unsafe.Sizeof(Key{}); got != 128 {
		t.Errorf("a Key has %d bytes", got)
	}
}

// tenThousand returns the Keys of that many names, each with every limit.
func tenThousand() []*Key {
	named := make([]Named, 10_000)
	for i := range named {
		named[i] = Named{fmt.Sprint("key-", i), Limits{RequestsPerSecond: 5, Burst: 10, TokensPerMinute: 60_000, MaxConcurrent: 4}}
	}
	return NewTable(start, Options{}).Set(start, named)
}

func TestDecisionsAllocateNothing(t *testing.T) {
	keys, now, i := tenThousand(), start, 0
	allocs := testing.AllocsPerRun(50_000, func() {
		i++
		now = now.Add(time.Microsecond)
		d := keys[i*7919%len(keys)].Admit(now, Need{Prompt: 100, Completion: 200, Patience: time.Minute})
		d.Grant.Settle(now, 150)
		k := keys[i%3] // these three refuse most of the time
		if d := k.Admit(now, Need{Prompt: 100, Completion: 200}); i%4 == 0 {
			d.Grant.Settle(now, 150)
		}
	})
	if allocs != 0 {
		t.Errorf("%v allocations a decision", allocs)
	}
}

// BenchmarkDecision decides on requests of one key, and of ten thousand, each another
// one, so that most of a decision is the fetching of its key from memory. The best
// round is what it costs when nothing else uses the machine's caches.
func BenchmarkDecision(b *testing.B) {
	const round = 10_000
	for _, spread := range []int{1, round} {
		b.Run(fmt.Sprintf("keys=%d", spread), func(b *testing.B) {
			keys, now, best := tenThousand()[:spread], start, time.Duration(math.MaxInt64)
			step := 300 * time.Millisecond / time.Duration(spread) // all are admitted
			order := rand.New(rand.NewPCG(13, 14)).Perm(round)
			b.ReportAllocs()
			for b.Loop() {
				began := time.Now()
				for _, i := range order {
					now = now.Add(step)
					d := keys[i%spread].Admit(now, Need{Prompt: 100, Completion: 200, Patience: time.Minute})
					if d.Reason == Admitted {
						d.Grant.Settle(now, 1)
					}
				}
				best = min(best, time.Since(began))
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*round), "ns/decision")
			b.ReportMetric(float64(best.Nanoseconds())/round, "best-ns/decision")
		})
	}
}
