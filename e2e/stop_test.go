package e2e

import (
	"net"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestSIGTERMLetsAStreamRunToItsEnd(t *testing.T) {
	p := newPod(t, "--drain-delay", "700ms")
	s := p.mustStream(t, counting(300))
	s.pieces(t, 3)
	p.signal(syscall.SIGTERM)
	if !within(600*time.Millisecond, func() bool {
		r := p.health("ready")
		return r.status == http.StatusServiceUnavailable && strings.Contains(r.body, "shutting_down")
	}) {
		t.Errorf("readiness did not turn before the door was closed: %+v", p.health("ready"))
	}
	await(t, "the door to close", func() bool {
		c, err := net.Dial("tcp", address(p.port))
		if err == nil {
			c.Close()
		}
		return err != nil
	})
	got := s.rest()
	if !got.done || got.usage.Completion != 300 || got.finish != "length" {
		t.Errorf("the stream ended with %+v, %v", got, s.err)
	}
	p.mustStop(t)
	var order []string
	for _, l := range mustReadLogs(t, p.logDir(), "serve") {
		if l.str("msg") == "child stopped" {
			order = append(order, l.str("child"))
			if l.num("status") != 0 {
				t.Errorf("%s stopped with %v", l.str("child"), l)
			}
		}
	}
	if !slices.Equal(order, []string{"proxy", "engine", "sidecar"}) {
		t.Errorf("stopped in the order %v", order)
	}
}

func TestStreamThatOutlastsTheDrainIsToldSo(t *testing.T) {
	p := newPod(t, "--drain-timeout", "400ms")
	s := p.mustStream(t, counting(4000))
	s.pieces(t, 3)
	p.signal(syscall.SIGTERM)
	got := s.rest()
	if got.done || got.fault == nil || got.fault.Code != "shutting_down" || s.err != nil {
		t.Errorf("the stream ended with %+v, fault %+v, %v", got, got.fault, s.err)
	}
	p.mustStop(t)
	lines := ofRequest(mustReadLogs(t, p.logDir(), "proxy"))[got.id]
	if len(lines) != 1 || lines[0].str("finish") != "drained" {
		t.Errorf("the proxy logged %v", lines)
	}
}

// Two signals at once are one order: the stream runs to its end.
func TestSignalSentTwiceIsOneOrder(t *testing.T) {
	p := newPod(t)
	s := p.mustStream(t, counting(40))
	s.pieces(t, 3)
	for range 3 {
		p.signal(syscall.SIGTERM)
		time.Sleep(100 * time.Millisecond)
	}
	if got := s.rest(); !got.done {
		t.Errorf("the stream ended with %+v", got)
	}
	if status, err := p.status(patience); err != nil || status != 0 {
		t.Errorf("ended with %d, %v:\n%s", status, err, p.stderr)
	}
}

func TestSecondSignalEndsTheWait(t *testing.T) {
	p := newDoomedPod(t, settings{})
	s := p.mustStream(t, counting(4000))
	s.pieces(t, 3)
	p.signal(syscall.SIGTERM)
	await(t, "the drain", func() bool { return strings.Contains(p.stderr.String(), "proxy drains") })
	time.Sleep(1500 * time.Millisecond) // two signals within a second are one
	second := time.Now()
	p.signal(syscall.SIGTERM)
	status, err := p.status(10 * time.Second)
	if err != nil || status != 1 {
		t.Errorf("ended with %d, %v", status, err)
	}
	if took := time.Since(second); took > 5*time.Second {
		t.Errorf("took %s", took)
	}
	if err := p.allGone(); err != nil {
		t.Error(err)
	}
	if got := s.rest(); got.done {
		t.Errorf("the stream ended with %+v", got)
	}
	if !strings.Contains(p.stderr.String(), "second signal") {
		t.Error("stderr does not say why")
	}
}

// TestSIGINTReachesTheChildrenOnlyThroughServe holds each child to a process group
// of its own: Ctrl-C in a terminal goes to serve alone, which stops them in order.
func TestSIGINTReachesTheChildrenOnlyThroughServe(t *testing.T) {
	p := newPod(t)
	for _, process := range []string{"proxy", "engine", "sidecar"} {
		pid := p.childPID(process)
		if group, err := syscall.Getpgid(pid); err != nil || group != pid {
			t.Errorf("%s (%d) is in the group %d, %v", process, pid, group, err)
		}
	}
	p.signal(syscall.SIGINT)
	p.mustStop(t)
}

func TestSIGTERMWhileTheModelLoadsIsACleanEnd(t *testing.T) {
	p, err := launchPod(settings{})
	if err != nil {
		t.Fatal(err)
	}
	p.cleanUp(t)
	await(t, "all three to start", func() bool {
		return p.childPID("proxy") > 0 && p.childPID("engine") > 0 && p.childPID("sidecar") > 0
	})
	p.mustStop(t)
}
