package telemetry

import "sync"

// Info is a family with one series at a time, always 1, whose labels say how
// something is. Unlike a gauge's they can be replaced.
type Info struct {
	metrics    *Metrics
	name, help string
	labels     []string

	mu     sync.Mutex
	series string // its labels
}

// Info declares such a family. It has no series until Set.
func (m *Metrics) Info(name, help string, labels ...string) *Info {
	m.family(name, help, gaugeKind, labels, nil)
	return &Info{metrics: m, name: name, help: help, labels: labels}
}

// Set makes these values of the labels, in their order, the ones that hold.
func (i *Info) Set(values ...string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	text := labelText(i.labels, values)
	if text == i.series {
		return
	}
	f := i.metrics.family(i.name, i.help, gaugeKind, i.labels, nil)
	f.put(&member{labels: text, read: func() float64 { return 1 }})
	if i.series != "" {
		f.drop(i.series)
	}
	i.series = text
}
