package telemetry

import (
	"slices"
	"strconv"
	"strings"
)

// Described is a family as the documentation tells of it.
type Described struct {
	Name, Kind, Help string
	Labels           []string  // in the order of their declaration
	Bounds           []float64 // of a histogram's buckets
}

// Describe lists the families that were declared, by name.
func (m *Metrics) Describe() []Described {
	m.mu.Lock()
	defer m.mu.Unlock()
	sorted := *m.sorted.Load()
	all := make([]Described, len(sorted))
	for i, f := range sorted {
		all[i] = Described{Name: f.name, Kind: string(f.kind), Help: f.help, Labels: slices.Clone(f.labels), Bounds: f.bounds}
	}
	return all
}

// note remembers which labels and bounds a family has. A declaration that
// contradicts an earlier one would make queries that add its series up lie.
func (f *family) note(names []string, bounds []float64) {
	if f.labels == nil && f.bounds == nil {
		f.labels, f.bounds = append([]string{}, names...), bounds
		return
	}
	if !slices.Equal(f.labels, names) || !slices.Equal(f.bounds, bounds) {
		panic("metric " + f.name + " is declared with other labels or buckets than before: " + strings.Join(names, ","))
	}
}

// labelNames returns the names in `a="1",b="2"`.
func labelNames(labels string) []string {
	var names []string
	for labels != "" {
		name, rest, ok := strings.Cut(labels, "=")
		if !ok {
			panic("cannot read the labels " + labels)
		}
		quoted, err := strconv.QuotedPrefix(rest)
		if err != nil {
			panic("cannot read the labels " + labels)
		}
		names = append(names, name)
		labels = strings.TrimPrefix(rest[len(quoted):], ",")
	}
	return names
}
