package engine

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestStopKeepsTimeToPersistWhileItsProxyHoldsOn lets the proxy keep its connection to
// the end: the engine serves it until only --persist-timeout is left, and then writes
// its agents.
func TestStopKeepsTimeToPersistWhileItsProxyHoldsOn(t *testing.T) {
	cfg := agentConfig(t)
	cfg.PersistTimeout = time.Second
	e := startOnce(t, cfg)
	for i := range 5 {
		e.post(completionPath, ask(strings.Repeat(string(rune('a'+i)), 100), 4), as("acme", fmt.Sprint("agent", i))...)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	began := time.Now()
	stopped := make(chan error, 1)
	go func() { stopped <- e.Stop(ctx) }()
	time.Sleep(500 * time.Millisecond)
	if r := e.post(completionPath, ask("late", 4)); r.status != 200 {
		t.Errorf("a request of the draining proxy: %d %s", r.status, r.body)
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took < 1500*time.Millisecond || took > 2900*time.Millisecond {
		t.Errorf("took %s of 3s, one of which is to persist", took)
	}
	lines := e.logLines("agents persisted")
	if len(lines) != 1 || lines[0]["dirty"] != 5.0 || lines[0]["persisted"] != 5.0 {
		t.Errorf("%v", lines)
	}
	if n := len(startEngine(t, freshSocket(t, cfg)).listed("acme")); n != 5 {
		t.Errorf("%d agents after the restart, want 5", n)
	}
}
