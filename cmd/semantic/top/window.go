package top

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/semantic-pod/semantic/telemetry"
)

// window keeps the looks of late, the oldest first.
type window struct {
	span  time.Duration
	looks []*look
}

func (w *window) add(l *look) {
	w.looks = append(w.looks, l)
	for len(w.looks) > 2 && l.at.Sub(w.looks[1].at) >= w.span {
		w.looks = w.looks[1:]
	}
}

// last is the latest look; nil before the first.
func (w *window) last() *look {
	if len(w.looks) == 0 {
		return nil
	}
	return w.looks[len(w.looks)-1]
}

// seconds is how long the window is.
func (w *window) seconds() float64 {
	if len(w.looks) < 2 {
		return 0
	}
	return w.last().at.Sub(w.looks[0].at).Seconds()
}

// value is the sum of a metric's series that have all of these labels, name and value
// by turns, now.
func (w *window) value(name string, labels ...string) float64 {
	if w.last() == nil {
		return 0
	}
	return sum(w.last(), name, labels)
}

func sum(l *look, name string, labels []string) float64 {
	total := 0.0
	for i := range l.series[name] {
		if s := &l.series[name][i]; has(s, labels) && s.Value == s.Value {
			total += s.Value
		}
	}
	return total
}

func has(s *telemetry.Sample, labels []string) bool {
	for i := 0; i+1 < len(labels); i += 2 {
		if s.Label(labels[i]) != labels[i+1] {
			return false
		}
	}
	return true
}

// increase is by how much a counter went up within the window. One that fell began
// anew, as those of a process that restarts do.
func (w *window) increase(name string, labels ...string) float64 {
	total := 0.0
	for i := 1; i < len(w.looks); i++ {
		before, after := sum(w.looks[i-1], name, labels), sum(w.looks[i], name, labels)
		if after < before {
			before = 0
		}
		total += after - before
	}
	return total
}

// rate is a counter's increase a second.
func (w *window) rate(name string, labels ...string) float64 {
	if s := w.seconds(); s > 0 {
		return w.increase(name, labels...) / s
	}
	return 0
}

// buckets are a histogram's increases within the window, of all its series together,
// the bounds rising. The last bound is +Inf.
func (w *window) buckets(name string) []bucket {
	if w.last() == nil {
		return nil
	}
	byBound := map[string]bool{}
	var all []bucket
	for _, s := range w.last().series[name+"_bucket"] {
		le := s.Label("le")
		if byBound[le] {
			continue
		}
		byBound[le] = true
		if bound, err := strconv.ParseFloat(le, 64); err == nil {
			all = append(all, bucket{bound, w.increase(name+"_bucket", "le", le)})
		}
	}
	slices.SortFunc(all, func(a, b bucket) int { return cmp.Compare(a.bound, b.bound) })
	return all
}

// valued is a label's value with the number of its series.
type valued struct {
	label string
	value float64
}

// each lists a metric's series by one of their labels, the greatest first.
func (w *window) each(name, label string) []valued {
	if w.last() == nil {
		return nil
	}
	var all []valued
	for _, s := range w.last().series[name] {
		all = append(all, valued{s.Label(label), s.Value})
	}
	slices.SortStableFunc(all, func(a, b valued) int {
		return cmp.Or(cmp.Compare(b.value, a.value), strings.Compare(a.label, b.label))
	})
	return all
}
