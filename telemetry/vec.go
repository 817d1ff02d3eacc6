package telemetry

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
)

// maxLabels is how many labels a Vec can have.
const maxLabels = 4

// otherLabel is the value of every label of the series that takes what no longer
// fits under a Vec's limit.
const otherLabel = "other"

// Vec is a family whose series come to be when their labels are first seen. Their
// number has a limit, after which all new ones count as one series "other", so
// that no client can make the exposition grow. A lookup of a known series takes
// no lock and allocates nothing.
type Vec[T any] struct {
	names  []string
	limit  int
	create func(labels string) *T

	mu    sync.Mutex
	known atomic.Pointer[map[[maxLabels]string]*T]
}

// CounterVec declares a family of counters over the labels names.
func (m *Metrics) CounterVec(name, help string, limit int, names ...string) *Vec[Counter] {
	m.family(name, help, counterKind, names, nil)
	return newVec(limit, names, func(labels string) *Counter { return m.Counter(name, labels, help) })
}

// HistogramVec declares a family of histograms over the labels names.
func (m *Metrics) HistogramVec(name, help string, bounds []float64, limit int, names ...string) *Vec[Histogram] {
	m.family(name, help, histogramKind, names, bounds)
	return newVec(limit, names, func(labels string) *Histogram { return m.Histogram(name, labels, help, bounds) })
}

// GaugeVec declares a family of gauges over the labels names.
func (m *Metrics) GaugeVec(name, help string, limit int, names ...string) *Vec[Gauge] {
	m.family(name, help, gaugeKind, names, nil)
	return newVec(limit, names, func(labels string) *Gauge { return m.Gauge(name, labels, help) })
}

func newVec[T any](limit int, names []string, create func(string) *T) *Vec[T] {
	if len(names) == 0 || len(names) > maxLabels {
		panic(fmt.Sprintf("a metric can have 1 to %d labels, not %q", maxLabels, names))
	}
	v := &Vec[T]{names: names, limit: limit, create: create}
	v.known.Store(&map[[maxLabels]string]*T{})
	return v
}

// With returns the series with these label values, in the order of the names.
func (v *Vec[T]) With(values ...string) *T {
	if len(values) != len(v.names) {
		panic("a metric's labels and their values differ in number")
	}
	var key [maxLabels]string
	copy(key[:], values)
	if s := (*v.known.Load())[key]; s != nil {
		return s
	}
	return v.add(key)
}

func (v *Vec[T]) add(key [maxLabels]string) *T {
	v.mu.Lock()
	defer v.mu.Unlock()
	old := *v.known.Load()
	if len(old) >= v.limit {
		for i := range v.names {
			key[i] = otherLabel
		}
	}
	if s := old[key]; s != nil {
		return s
	}
	for i := range v.names {
		key[i] = strings.Clone(key[i]) // the caller's may be a view of a buffer that it uses again
	}
	s := v.create(labelText(v.names, key[:len(v.names)]))
	next := make(map[[maxLabels]string]*T, len(old)+1)
	for k, s := range old {
		next[k] = s
	}
	next[key] = s
	v.known.Store(&next)
	return s
}

// labelText writes labels as the exposition has them.
func labelText(names, values []string) string {
	var b strings.Builder
	for i, name := range names {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(name + `="` + labelEscaper.Replace(values[i]) + `"`)
	}
	return b.String()
}

// EscapeLabel makes a text fit to stand between the quotes of a label's value.
func EscapeLabel(value string) string { return labelEscaper.Replace(value) }

var labelEscaper = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)
