package load

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Ends is how the pods say that each request ended: its finish class, by its id, once
// for each line that they wrote.
type Ends map[string][]string

// Verdict is what came of a drill.
type Verdict struct {
	Requests int
	Streams  int
	Classes  map[string]int // what clients saw, by a word for it
	Faults   []string       // what must not be
}

func (v *Verdict) fault(o Outcome, ends []string, why string) {
	v.Faults = append(v.Faults, fmt.Sprintf("%s: %+v; the logs say %v", why, o, ends))
}

// String says it in a line.
func (v *Verdict) String() string {
	var classes []string
	for _, c := range slices.Sorted(maps.Keys(v.Classes)) {
		classes = append(classes, fmt.Sprintf("%d %s", v.Classes[c], c))
	}
	return fmt.Sprintf("%d requests, of them %d streams: %s; %d faults", v.Requests, v.Streams, strings.Join(classes, ", "), len(v.Faults))
}

// JudgeRolling holds every request of a drill in which pods were only ever stopped in
// order: it was answered, or it had begun and was told that its time was up.
func JudgeRolling(outcomes []Outcome, ends Ends) *Verdict {
	return judge(outcomes, ends, func(o Outcome, said string) string {
		switch {
		case o.Done && o.Fault == "" && o.Code == "" && good(said):
			return "answered"
		case !o.Done && o.Code == "shutting_down" && said == "drained" && (o.Begun || o.Status == 503):
			return "drained"
		}
		return ""
	})
}

// Kill is a process that was killed.
type Kill struct {
	Process string  // or WholePod
	At      float64 // seconds since 1970
	Mended  float64 // when another ran in its stead
}

// WholePod is killed with its proxy.
const WholePod = "pod"

const (
	// killSlack is for how long after another proxy runs its address may be dead, in seconds:
	// the supervisor's pause, which doubles from 0.1 s to 10 s, and a container's network.
	killSlack = 15
	// lineSlack is for how long before its death a proxy may not have written its lines: they
	// gather for 5 ms, and on a busy machine the writer waits for its turn.
	lineSlack = 1
)

// JudgeCrashes holds every request of a drill in which processes were killed: a stream
// that began tells its end, unless the proxy itself died; what had not begun is refused
// politely, or lost with a proxy.
func JudgeCrashes(outcomes []Outcome, ends Ends, kills []Kill) *Verdict {
	return judge(outcomes, ends, func(o Outcome, said string) string {
		answered := o.Done && o.Fault == "" && o.Code == ""
		told := o.Code == "engine_died" && !o.Done
		refused := !o.Begun && o.Status == 503 && o.Code != ""
		switch {
		case answered && good(said):
			return "answered"
		case told && said == "engine_died":
			return "told that the engine died"
		case refused && said == "shed":
			return "refused for now"
		case !o.Done && (said == "" || said == "client_gone") && anyProxy(kills, func(k Kill) bool {
			return k.At <= o.To && o.From <= k.Mended+killSlack
		}):
			return "lost with a proxy"
		case (answered || told || refused) && said == "" && anyProxy(kills, func(k Kill) bool {
			return o.From <= k.At && k.At <= o.To+lineSlack
		}):
			return "ended well, the log's line lost with a proxy"
		}
		return ""
	})
}

func anyProxy(kills []Kill, fits func(Kill) bool) bool {
	return slices.ContainsFunc(kills, func(k Kill) bool { return (k.Process == "proxy" || k.Process == WholePod) && fits(k) })
}

func good(finish string) bool {
	return slices.Contains([]string{"stop", "length", "ok"}, finish)
}

// judge names what became of each request by one of the ways that are right.
func judge(outcomes []Outcome, ends Ends, right func(o Outcome, said string) string) *Verdict {
	v := &Verdict{Classes: map[string]int{}}
	for _, o := range outcomes {
		v.Requests++
		if o.Streams() && o.Begun {
			v.Streams++
		}
		said := ends[o.ID]
		if len(said) > 1 {
			v.fault(o, said, "more than one line of the log")
			continue
		}
		class := right(o, strings.Join(said, ""))
		if class == "" {
			v.fault(o, said, "no right end")
			continue
		}
		v.Classes[class]++
	}
	return v
}
