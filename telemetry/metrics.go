package telemetry

import (
	"fmt"
	"slices"
	"sort"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/VictoriaMetrics/metrics"
)

// The kinds of series whose state is one word. Callers keep the pointer that a
// declaration gives them, so that a count on the request path is one atomic addition
// and no lookup. The library's FloatCounter and histograms hold a lock while a scrape
// formats them; ours are in histogram.go.
type (
	Counter = metrics.Counter
	Gauge   = metrics.Gauge
)

// kind is the word after a family's TYPE.
type kind string

const (
	counterKind   kind = "counter"
	gaugeKind     kind = "gauge"
	histogramKind kind = "histogram"
)

// Metrics holds the families of one process. A family has one name, one kind and
// one HELP text, and as many series as were declared. A declaration that
// contradicts an earlier one is a mistake in the program and panics.
type Metrics struct {
	process string

	mu       sync.Mutex // of declarations; a scrape does without it
	families map[string]*family
	sorted   atomic.Pointer[[]*family] // by name; another slice when a family is added
}

// family is one name with its series.
type family struct {
	name, help string
	kind       kind
	labels     []string                  // names
	bounds     []float64                 // of a histogram's buckets
	series     atomic.Pointer[[]*member] // by labels; another slice when it changes
}

// member is a series of a family. One of its sources has its value.
type member struct {
	labels    string
	count     *Counter
	read      func() float64
	histogram *Histogram
}

// NewMetrics returns the metrics of the process ("proxy", "engine", "sidecar"),
// with the series of its process, Go runtime and build already in them.
func NewMetrics(process string) *Metrics {
	m := &Metrics{process: process, families: map[string]*family{}}
	m.sorted.Store(new([]*family))
	m.declareProcess()
	m.declareRuntime()
	m.declareBuild()
	return m
}

// Counter declares a whole-number counter. Labels are written as in the
// exposition, `class="stop"`, or "" for none.
func (m *Metrics) Counter(name, labels, help string) *Counter {
	c := new(Counter)
	m.add(name, help, counterKind, nil, &member{labels: labels, count: c})
	return c
}

// FloatCounter declares a counter of seconds or other fractions.
func (m *Metrics) FloatCounter(name, labels, help string) *FloatCounter {
	c := new(FloatCounter)
	m.add(name, help, counterKind, nil, &member{labels: labels, read: c.Get})
	return c
}

// CounterFunc declares a counter whose value f reads at each scrape.
func (m *Metrics) CounterFunc(name, labels, help string, f func() float64) {
	m.add(name, help, counterKind, nil, &member{labels: labels, read: f})
}

// Gauge declares a gauge that the caller sets.
func (m *Metrics) Gauge(name, labels, help string) *Gauge {
	g := new(Gauge)
	m.add(name, help, gaugeKind, nil, &member{labels: labels, read: g.Get})
	return g
}

// GaugeFunc declares a gauge whose value f reads at each scrape.
func (m *Metrics) GaugeFunc(name, labels, help string, f func() float64) {
	m.add(name, help, gaugeKind, nil, &member{labels: labels, read: f})
}

// Histogram declares a histogram with the upper bounds given, in rising order;
// the bucket +Inf is added.
func (m *Metrics) Histogram(name, labels, help string, bounds []float64) *Histogram {
	h := newHistogram(name, labels, bounds)
	m.add(name, help, histogramKind, bounds, &member{labels: labels, histogram: h})
	return h
}

// add takes a series into its family.
func (m *Metrics) add(name, help string, k kind, bounds []float64, s *member) {
	m.family(name, help, k, labelNames(s.labels), bounds).put(s)
}

// put adds a series, in its place among the others.
func (f *family) put(s *member) {
	for {
		old := f.series.Load()
		var all []*member
		if old != nil {
			all = *old
		}
		at, known := slices.BinarySearchFunc(all, s.labels, func(o *member, l string) int { return strings.Compare(o.labels, l) })
		if known {
			panic(fmt.Sprintf("the series %s is declared twice", series(f.name, s.labels)))
		}
		next := slices.Insert(slices.Clone(all), at, s)
		if f.series.CompareAndSwap(old, &next) {
			return
		}
	}
}

// drop removes the series with these labels.
func (f *family) drop(labels string) {
	for {
		old := f.series.Load()
		next := slices.DeleteFunc(slices.Clone(*old), func(o *member) bool { return o.labels == labels })
		if f.series.CompareAndSwap(old, &next) {
			return
		}
	}
}

// family returns the family of that name, added when it is new.
func (m *Metrics) family(name, help string, k kind, labels []string, bounds []float64) *family {
	if help == "" {
		panic(fmt.Sprintf("metric %s is declared without a help text", name))
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if f := m.families[name]; f != nil {
		if f.kind != k || f.help != help {
			panic(fmt.Sprintf("metric %s is declared twice: %s %q and %s %q", name, f.kind, f.help, k, help))
		}
		f.note(labels, bounds)
		return f
	}
	f := &family{name: name, help: help, kind: k}
	f.note(labels, bounds)
	m.families[name] = f
	old := *m.sorted.Load()
	at := sort.Search(len(old), func(i int) bool { return old[i].name > name })
	next := slices.Insert(slices.Clone(old), at, f) // a scrape may be walking over the old one
	m.sorted.Store(&next)
	return f
}

func series(name, labels string) string {
	if labels == "" {
		return name
	}
	return name + "{" + labels + "}"
}
