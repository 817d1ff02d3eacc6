package e2e

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
)

// TestSIGTERMWritesEveryDirtyAgentAndSaysHowMany counts the agents that have changed since they were
// written, in two lives of a pod: all of them in the first, those that had a turn in the second.
func TestSIGTERMWritesEveryDirtyAgentAndSaysHowMany(t *testing.T) {
	dir := shortDir(t)
	lives := []struct{ turns, agents []string }{
		{turns: []string{"a", "b", "c", "d", "e", "f", "g"}, agents: []string{"a", "b", "c", "d", "e", "f", "g"}},
		{turns: []string{"b", "b", "e", "h", "i"}, agents: []string{"a", "b", "c", "d", "e", "f", "g", "h", "i"}},
		{turns: nil, agents: []string{"a", "b", "c", "d", "e", "f", "g", "h", "i"}},
	}
	for i, life := range lives {
		p := newDoomedPod(t, settings{dir: dir})
		if warm := p.tiers(t)["warm"]; i > 0 && warm != len(lives[i-1].agents) {
			t.Errorf("life %d begins with %d agents on disk, want %d", i, warm, len(lives[i-1].agents))
		}
		dirty := map[string]bool{}
		for turn, agent := range life.turns {
			dirty[agent] = true
			p.mustGenerate(t, chat(fmt.Sprintf("Turn %d of agent %s. %s", turn, agent, strings.Repeat("Remember the number seven. ", 16)), 4), "X-Agent-ID", agent)
		}
		p.mustGenerate(t, chat("Of no agent.", 4))
		p.signal(syscall.SIGTERM)
		p.mustStop(t)
		var told []line
		for _, l := range mustReadLogs(t, p.logDir(), "engine") {
			if l.str("msg") == "agents persisted" {
				told = append(told, l)
			}
		}
		if len(told) != i+1 {
			t.Fatalf("life %d: the log says %d times how many agents were written", i, len(told))
		}
		if l := told[i]; int(l.num("dirty")) != len(dirty) || int(l.num("persisted")) != len(dirty) || l.num("failed") != 0 || l.num("left") != 0 {
			t.Errorf("life %d: %d agents were dirty, and the log says %v", i, len(dirty), l)
		}
	}
}
