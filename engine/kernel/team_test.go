package kernel

import (
	"sync/atomic"
	"testing"
	"time"
)

func TestTeamDoesEveryPieceOnceAndPhasesInOrder(t *testing.T) {
	for _, size := range []int{1, 2, 3, 8} {
		team := NewTeam(size, Best())
		for _, pieces := range []int{0, 1, 7, 1000} {
			done := make([]atomic.Int32, pieces)
			var total atomic.Int32
			for range 20 {
				total.Store(0)
				team.Run(func(worker int) {
					for phase := range 10 {
						team.Each(worker, pieces, func(i int) {
							if int(total.Load()) < phase*pieces {
								t.Errorf("phase %d began before the one before it had ended", phase)
							}
							done[i].Add(1)
						})
						if worker == 0 {
							total.Add(int32(pieces))
						}
						team.Each(worker, 0, nil)
					}
				})
			}
			for i := range done {
				if n := done[i].Load(); n != 200 {
					t.Fatalf("%d workers did piece %d of %d %d times in 200 phases", size, i, pieces, n)
				}
			}
		}
		team.Close()
	}
}

func TestTeamWakesWorkersThatSleep(t *testing.T) {
	team := NewTeam(4, Best())
	defer team.Close()
	for range 20 {
		time.Sleep(2 * time.Millisecond) // longer than they spin
		var ran atomic.Int32
		team.Run(func(worker int) {
			if worker == 1 {
				time.Sleep(2 * time.Millisecond) // the others sleep at the barrier
			}
			ran.Add(1)
		})
		if ran.Load() != 4 {
			t.Fatalf("%d workers ran, want 4", ran.Load())
		}
	}
}

// A worker that waits asks for every line of what comes next, once and in order, but for no more than
// its cache would keep.
func TestTeamFetchesAheadWhileItWaits(t *testing.T) {
	memory := make([]byte, mostAhead+10*lineBytes)
	for _, size := range []int{1, lineBytes, 3*lineBytes + 1, linesPerRound*lineBytes + 1, len(memory)} {
		team := NewTeam(2, Best())
		next, asked := &memory[0], 0
		team.prefetch = func(p *byte, lines int) {
			if p != next {
				t.Errorf("of %d bytes, line %d is not asked for in its turn", size, asked)
			}
			asked += lines
			if asked*lineBytes < len(memory) {
				next = &memory[asked*lineBytes]
			}
		}
		team.Run(func(worker int) {
			if worker == 1 {
				team.Ahead(worker, memory[:size])
			}
			team.Each(worker, 1, func(int) { time.Sleep(5 * time.Millisecond) })
		})
		team.Close()
		if want := (min(size, mostAhead) + lineBytes - 1) / lineBytes; asked != want {
			t.Errorf("%d lines of %d bytes were asked for, want %d", asked, size, want)
		}
	}
}

func TestRunAllocatesNothing(t *testing.T) {
	team := NewTeam(2, Best())
	defer team.Close()
	var sum atomic.Int64
	job := func(worker int) { team.Each(worker, 100, func(i int) { sum.Add(int64(i)) }) }
	if n := testing.AllocsPerRun(100, func() { team.Run(job) }); n != 0 {
		t.Errorf("%g allocations a run, want none", n)
	}
}
