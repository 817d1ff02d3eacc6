package limit

import (
	"math/rand/v2"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/ratelimit"
)

// start is some moment; what it is must not matter.
var start = time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)

func keyWith(l Limits) *Key { return NewTable(start, Options{}).Set(start, []Named{{"a", l}})[0] }

// TestTakeGivesTheTurnThatWasForeseen pins the library's rule: the pacer refuses by
// what it foresees, so both must be one.
func TestTakeGivesTheTurnThatWasForeseen(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		rate := []float64{0.01, 0.5, 1, 3, 7.3, 100, 333, 1e6}[r.IntN(8)]
		var p pacer
		p.set(rate, r.IntN(4))
		now := int64(1 + r.IntN(3))
		for i := range 200 {
			foreseen := p.next(now)
			if got := p.take(now); got != foreseen {
				t.Fatalf("rate %v, step %d, now %d: Take gave %d, foreseen was %d", rate, i, now, got, foreseen)
			}
			switch r.IntN(5) {
			case 0: // at once
			case 1:
				now += p.interval
			case 2:
				now += p.interval + int64(r.IntN(3)) - 1
			case 3:
				now += r.Int64N(3 * p.interval)
			case 4:
				now = max(1, now-r.Int64N(p.interval)) // two goroutines looked at the clock in the other order
			}
		}
	}
}

func TestRateLimitLibraryIsTheVersionThatThePacerWasHeldAgainst(t *testing.T) {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Version}}", "go.uber.org/ratelimit").CombinedOutput()
	if got := strings.TrimSpace(string(out)); err != nil || got != "v0.3.1" {
		t.Errorf("go.uber.org/ratelimit is %s, error %v: read its Take again, then change the version here", got, err)
	}
}

func TestLibraryWouldSleepUntilTheTurnThatItReturns(t *testing.T) {
	clock := &sleepRecorder{now: start}
	l := ratelimit.New(1, ratelimit.Per(100*time.Millisecond), ratelimit.WithoutSlack, ratelimit.WithClock(clock))
	for i, want := range []time.Duration{0, 100 * time.Millisecond, 200 * time.Millisecond} {
		clock.slept = 0
		turn := l.Take()
		if turn.Sub(start) != want || clock.slept != want {
			t.Errorf("take %d: turn after %v, slept %v, want %v", i, turn.Sub(start), clock.slept, want)
		}
	}
	clock.now = start.Add(time.Hour)
	if turn := l.Take(); !turn.Equal(clock.now) {
		t.Errorf("after an hour's pause the turn is at %v", turn)
	}
	if turn := l.Take(); turn.Sub(clock.now) != 100*time.Millisecond {
		t.Errorf("the pause was saved up: the second turn came after %v", turn.Sub(clock.now))
	}
}

type sleepRecorder struct {
	now   time.Time
	slept time.Duration
}

func (c *sleepRecorder) Now() time.Time        { return c.now }
func (c *sleepRecorder) Sleep(d time.Duration) { c.slept = d }

func TestAFloodIsServedAtTheRateForAMinute(t *testing.T) {
	for _, test := range []struct {
		rate  float64
		burst int
	}{{5, 10}, {0.5, 3}, {1, 0}, {7.3, 4}, {100, 50}, {333, 20}} {
		synctest.Test(t, func(t *testing.T) {
			k := NewTable(time.Now(), Options{}).Set(time.Now(), []Named{{"a", Limits{RequestsPerSecond: test.rate, Burst: test.burst}}})[0]
			began, gap := time.Now(), time.Duration(float64(time.Second)/test.rate/7)
			if test.burst == 0 {
				gap /= 100 // nobody waits in line, so that only who comes at the very time is served
			}
			accepted, served := 0, 0
			var dispatched sync.WaitGroup
			var mu sync.Mutex
			for time.Since(began) < time.Minute {
				if d := k.Admit(time.Now(), Need{}); d.Reason == Admitted {
					accepted++
					dispatched.Go(func() {
						time.Sleep(d.Wait)
						if time.Since(began) < time.Minute {
							mu.Lock()
							served++
							mu.Unlock()
						}
					})
				}
				time.Sleep(gap)
			}
			dispatched.Wait()
			within(t, "dispatched in a minute", float64(served), test.rate*60)
			within(t, "accepted in a minute", float64(accepted), test.rate*60+float64(test.burst))
		})
	}
}

func within(t *testing.T, what string, got, want float64) {
	t.Helper()
	if slack := max(1, want/100); got < want-slack || got > want+slack {
		t.Errorf("%s: %v, want %v within 1 %%", what, got, want)
	}
}

// TestNoScheduleGetsMoreThanTheRateAndTheBurst tries random clients: in no window
// are more accepted than rate × its length + burst, and no two turns are nearer to
// each other than the interval.
func TestNoScheduleGetsMoreThanTheRateAndTheBurst(t *testing.T) {
	for _, noDelay := range []bool{false, true} {
		r := rand.New(rand.NewPCG(3, 4))
		for range 200 {
			l := Limits{RequestsPerSecond: 0.1 + 20*r.Float64(), Burst: r.IntN(8)}
			k := NewTable(start, Options{NoDelay: noDelay}).Set(start, []Named{{"a", l}})[0]
			step := interval(l.RequestsPerSecond)
			now, arrivals, lastTurn := int64(0), []int64(nil), -step
			for range 300 {
				now += r.Int64N(2 * step >> r.IntN(6))
				d := k.Admit(start.Add(time.Duration(now)), Need{})
				if d.Reason != Admitted {
					continue
				}
				arrivals = append(arrivals, now)
				turn := now + int64(d.Wait)
				if !noDelay && turn-lastTurn < step {
					t.Fatalf("%+v: two turns are %d ns apart", l, turn-lastTurn)
				}
				lastTurn = turn
			}
			for i := range arrivals {
				for j := i; j < len(arrivals); j++ {
					window := arrivals[j] - arrivals[i]
					if most := window/step + 1 + int64(l.Burst); int64(j-i+1) > most {
						t.Fatalf("%+v, no delay %v: %d accepted in %d ns, most is %d", l, noDelay, j-i+1, window, most)
					}
				}
			}
		}
	}
}

func TestRefusedRequestTakesNoTurn(t *testing.T) {
	k := keyWith(Limits{RequestsPerSecond: 1, Burst: 2})
	admit := func(after time.Duration) Decision { return k.Admit(start.Add(after), Need{}) }
	for i := range 3 {
		if d := admit(0); d.Reason != Admitted || d.Wait != time.Duration(i)*time.Second {
			t.Fatalf("request %d: %+v", i, d)
		}
	}
	for range 1000 {
		if d := admit(999 * time.Millisecond); d.Reason != RequestRate || d.RetryAfter != time.Millisecond {
			t.Fatalf("%+v", d)
		}
	}
	if d := admit(time.Second); d.Reason != Admitted || d.Wait != 2*time.Second {
		t.Errorf("after 1,000 refusals: %+v", d)
	}
}

func TestNoDelayLetsTheBurstThroughAtOnce(t *testing.T) {
	k := NewTable(start, Options{NoDelay: true}).Set(start, []Named{{"a", Limits{RequestsPerSecond: 1, Burst: 2}}})[0]
	for i := range 4 {
		d := k.Admit(start, Need{})
		if d.Wait != 0 || (d.Reason == Admitted) != (i < 3) {
			t.Errorf("request %d: %+v", i, d)
		}
	}
	if d := k.Admit(start.Add(time.Second), Need{}); d.Reason != Admitted {
		t.Errorf("a second later: %+v", d)
	}
}

func TestWhoCannotWaitIsRefusedAtOnce(t *testing.T) {
	k := keyWith(Limits{RequestsPerSecond: 1, Burst: 10})
	need := Need{Patience: 1500 * time.Millisecond}
	for range 2 {
		if d := k.Admit(start, need); d.Reason != Admitted {
			t.Fatalf("%+v", d)
		}
	}
	d := k.Admit(start, need)
	if d.Reason != RequestRate || d.RetryAfter != 500*time.Millisecond {
		t.Fatalf("%+v", d)
	}
	if d := k.Admit(start.Add(d.RetryAfter), need); d.Reason != Admitted || d.Wait != need.Patience {
		t.Errorf("%+v", d)
	}
}

func TestStandingTellsHowManyWouldBeAdmitted(t *testing.T) {
	k := keyWith(Limits{RequestsPerSecond: 2, Burst: 3})
	for i := range 4 {
		d := k.Admit(start, Need{})
		want := Standing{Limit: 4, Remaining: int64(3 - i), Reset: time.Duration(i+1) * 500 * time.Millisecond}
		if d.Requests != want {
			t.Errorf("after request %d: %+v, want %+v", i, d.Requests, want)
		}
	}
	if d := k.Peek(start.Add(time.Second), Need{}); d.Requests != (Standing{4, 2, time.Second}) {
		t.Errorf("a second later: %+v", d.Requests)
	}
	if d := k.Peek(start.Add(2*time.Second), Need{}); d.Requests != (Standing{4, 4, 0}) {
		t.Errorf("two seconds later: %+v", d.Requests)
	}
}
