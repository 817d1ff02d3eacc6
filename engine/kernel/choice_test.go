package kernel

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/semantic-pod/semantic/engine/gguf"
)

// TestTheFasterKernelIsChosen gives a CPU's kernels a rival that wins with many columns alone, one that
// never wins and one that always does.
func TestTheFasterKernelIsChosen(t *testing.T) {
	const rows, cols = 512, 256
	r := rand.New(rand.NewPCG(31, 32))
	m := packed(t, gguf.Q8_0, rows, cols, tensorBytes(r, gguf.Q8_0, rows*cols))
	team := NewTeam(2, Best())
	defer team.Close()
	// A kernel that does nothing but take so many microseconds for a call.
	takes := func(micros func(columns int) int) func(*tile) {
		return func(t *tile) {
			for began := time.Now(); time.Since(began) < time.Duration(micros(t.columns))*time.Microsecond; {
			}
		}
	}
	quick := func(int) int { return 20 }
	slow := func(int) int { return 300 }
	quickWithMany := func(n int) int {
		if n < 64 {
			return 600
		}
		return 20
	}
	for _, c := range []struct {
		name         string
		usual, rival func(int) int
		least        int
	}{
		{"always", slow, quick, 16},
		{"never", quick, slow, 0},
		{"with many", slow, quickWithMany, 64},
	} {
		v := *Best()
		v.muls[formatS8] = []mul{{columns: 1, run: takes(quick)}, {columns: 16, run: takes(c.usual), many: true}, {columns: 16, run: takes(c.rival), many: true}}
		chosen := v.Choose(team, []*Matrix{m})
		all := chosen.muls[formatS8]
		if c.least == 0 {
			if len(all) != 2 {
				t.Errorf("%s faster: kernels %v are kept, want the rival gone", c.name, all)
			}
			continue
		}
		if len(all) != 3 || all[2].least != c.least {
			t.Fatalf("%s faster: kernels are %+v, want the rival from %d columns on", c.name, all, c.least)
		}
		if got := chosen.mulFor(formatS8, c.least); got != &all[2] {
			t.Errorf("%s faster: %d columns go to %+v", c.name, c.least, got)
		}
		if got := chosen.mulFor(formatS8, c.least-1); got == &all[2] {
			t.Errorf("%s faster: %d columns go to the rival", c.name, c.least-1)
		}
		if len(v.muls[formatS8]) != 3 || v.muls[formatS8][2].least != 0 {
			t.Errorf("%s faster: the variant that was asked has changed", c.name)
		}
	}
}
