package kernel

import (
	"fmt"
	"strings"
	"time"
)

// triedColumns are the batches at which rival kernels are timed; a larger one is taken to be like
// the largest.
var triedColumns = [...]int{16, 32, 64, 128}

const (
	choiceTurns  = 5  // how often both rivals are timed at each batch: who wins more often is the faster one
	choicePanels = 96 // how much of a matrix is multiplied at a time
)

// Choose returns the variant as it multiplies these matrices fastest on this machine. Where a format
// has two kernels for many columns, all workers of the team multiply with both, and it is timed.
//
// It matters to a CPU with AMX: tiles multiply many columns at once, but want to be filled, and
// workers that share a core share its tiles. From how many columns on they win against AVX-512
// differs from machine to machine. All kernels give the same bits, so nothing else depends on it.
func (v *Variant) Choose(team *Team, matrices []*Matrix) *Variant {
	chosen := *v
	var told []string
	for f := range format(formats) {
		rivals := v.muls[f]
		for len(rivals) > 0 && !rivals[0].many {
			rivals = rivals[1:]
		}
		if len(rivals) < 2 {
			continue
		}
		parts := partsOf(matrices, f)
		if len(parts) == 0 {
			continue
		}
		r := newRace(v, team, parts)
		keep := len(v.muls[f]) - len(rivals) + 1
		chosen.muls[f] = append([]mul(nil), v.muls[f][:keep]...)
		for _, rival := range rivals[1:] {
			rival.least = r.least(&chosen, f, rival)
			if rival.least == 0 {
				told = append(told, fmt.Sprintf("not for %v", parts[0].source))
				continue
			}
			chosen.muls[f] = append(chosen.muls[f], rival)
			told = append(told, fmt.Sprintf("for %v from %d columns on", parts[0].source, rival.least))
		}
	}
	if told != nil {
		chosen.Name += " (" + strings.Join(told, ", ") + ")"
	}
	return &chosen
}

// partsOf cuts the matrices of a format that have the shape of the one with the most weights into equal
// parts, without what remains: weights of which each is multiplied a few times come from memory, as
// in a forward pass, not from the CPU's cache.
func partsOf(matrices []*Matrix, f format) []*Matrix {
	var largest *Matrix
	for _, m := range matrices {
		if m.format == f && (largest == nil || m.Bytes() > largest.Bytes()) {
			largest = m
		}
	}
	if largest == nil || largest.Rows < panelRows {
		return nil
	}
	panels := min(choicePanels, largest.Rows/panelRows)
	var parts []*Matrix
	for _, m := range matrices {
		if m.format != f || m.Cols != largest.Cols {
			continue
		}
		for from := 0; from+panels <= m.Rows/panelRows; from += panels {
			part := *m
			part.Rows, part.Fine = panels*panelRows, false
			part.data = m.data[from*m.PanelBytes():]
			parts = append(parts, &part)
		}
	}
	return parts
}

// race is what it takes to time kernels: a team, and what its workers read and write.
type race struct {
	team    *Team
	parts   []*Matrix
	next    int // the part that comes next
	scratch []*Scratch
	x, out  *Columns
}

func newRace(v *Variant, team *Team, parts []*Matrix) *race {
	m, columns := parts[0], triedColumns[len(triedColumns)-1]
	r := &race{team: team, parts: parts, x: NewColumns(m.Cols, columns, v.Needs(m)), out: NewColumns(m.Rows, columns, 0)}
	for range team.Size() {
		r.scratch = append(r.scratch, NewScratch(panelRows))
	}
	for i := range columns {
		for j := range r.x.Vector(i) {
			r.x.Vector(i)[j] = float32(1 + (i+j)%7)
		}
		v.Quantize(r.x, i, 0, r.x.n)
	}
	return r
}

// least returns from how many columns on a kernel is faster than those that the variant has, or 0
// if it is not even with many.
func (r *race) least(v *Variant, f format, rival mul) int {
	with := *v
	with.muls[f] = append(append([]mul(nil), v.muls[f]...), rival)
	least := 0
	for i := len(triedColumns) - 1; i >= 0; i-- {
		wins := 0
		for range choiceTurns {
			if usual := r.run(v, triedColumns[i]); r.run(&with, triedColumns[i]) < usual {
				wins++
			}
		}
		if wins <= choiceTurns/2 {
			break
		}
		least = triedColumns[i]
	}
	return least
}

// run returns how long the workers together take to multiply the next part with so many columns.
func (r *race) run(v *Variant, columns int) time.Duration {
	const step = 4
	m := r.parts[r.next%len(r.parts)]
	r.next++
	began := time.Now()
	r.team.Run(func(worker int) {
		r.team.Each(worker, (m.Panels()+step-1)/step, func(i int) {
			v.Mul(r.scratch[worker], m, i*step, min((i+1)*step, m.Panels()), r.x, 0, r.out.Vectors(0, columns), false)
		})
	})
	return time.Since(began)
}
