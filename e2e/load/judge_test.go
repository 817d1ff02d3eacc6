package load

import (
	"strings"
	"testing"
)

// What a drill must not let pass.
func TestJudgeSeesFaults(t *testing.T) {
	kills := []Kill{{"engine", 100, 101}, {WholePod, 200, 230}}
	rolling := JudgeRolling
	crashes := func(o []Outcome, e Ends) *Verdict { return JudgeCrashes(o, e, kills) }
	for name, c := range map[string]struct {
		judge func([]Outcome, Ends) *Verdict
		o     Outcome
		said  []string
		class string // "" is a fault
	}{
		"answered":                               {rolling, Outcome{Begun: true, Done: true}, []string{"stop"}, "answered"},
		"an answer that no log has":              {rolling, Outcome{Begun: true, Done: true}, nil, ""},
		"an answer that two pods gave":           {rolling, Outcome{Begun: true, Done: true}, []string{"stop", "stop"}, ""},
		"a stream cut by a stop, and told":       {rolling, Outcome{Way: "raw", Begun: true, Code: "shutting_down"}, []string{"drained"}, "drained"},
		"a stream cut without a word":            {rolling, Outcome{Way: "raw", Begun: true, Fault: "cut"}, []string{"drained"}, ""},
		"a stream told, and then [DONE]":         {rolling, Outcome{Way: "raw", Begun: true, Done: true, Code: "shutting_down"}, []string{"drained"}, ""},
		"refused in a rolling restart":           {rolling, Outcome{Status: 503, Code: "not_ready"}, []string{"shed"}, ""},
		"no connection in a rolling restart":     {rolling, Outcome{Fault: "refused"}, nil, ""},
		"told that the engine died":              {crashes, Outcome{Begun: true, Code: "engine_died", From: 99, To: 101}, []string{"engine_died"}, "told that the engine died"},
		"refused in a crash":                     {crashes, Outcome{Status: 503, Code: "not_ready", From: 100, To: 101}, []string{"shed"}, "refused for now"},
		"lost while only an engine was dead":     {crashes, Outcome{Begun: true, Fault: "cut", From: 99, To: 101}, nil, ""},
		"lost with a pod":                        {crashes, Outcome{Begun: true, Fault: "cut", From: 199, To: 201}, nil, "lost with a proxy"},
		"lost while the pod was being mended":    {crashes, Outcome{Fault: "cut", From: 228, To: 231}, nil, "lost with a proxy"},
		"refused by a pod that died then":        {crashes, Outcome{Status: 503, Code: "engine_unreachable", From: 198, To: 199.5}, nil, "ended well, the log's line lost with a proxy"},
		"answered by a pod that died then":       {crashes, Outcome{Done: true, From: 198, To: 199.5}, nil, "ended well, the log's line lost with a proxy"},
		"answered without a line long before":    {crashes, Outcome{Done: true, From: 100, To: 101}, nil, ""},
		"refused by nobody":                      {crashes, Outcome{Status: 503, From: 100, To: 101}, nil, ""},
		"lost before the pod was killed":         {crashes, Outcome{Begun: true, Fault: "cut", From: 198, To: 199}, nil, ""},
		"lost with a pod whose log knows better": {crashes, Outcome{Begun: true, Fault: "cut", From: 199, To: 201}, []string{"stop"}, ""},
	} {
		c.o.ID = "id"
		v := c.judge([]Outcome{c.o}, Ends{"id": c.said})
		if c.class == "" && len(v.Faults) != 1 || c.class != "" && (len(v.Faults) != 0 || v.Classes[c.class] != 1) {
			t.Errorf("%s: %s %v", name, v, strings.Join(v.Faults, "; "))
		}
	}
}
