package e2e

import (
	"flag"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/semantic-pod/semantic/e2e/load"
)

var (
	restarts = flag.Int("drill", 4, "how many rolling restarts TestRollingRestartsLoseNothing makes")
	crashes  = flag.Duration("crash-drill", 15*time.Second, "how long TestCrashesAreToldAndMended goes on")
)

// place is where one `semantic serve` after the other runs.
type place struct {
	dir  string
	port int
	args []string
	pod  *pod // nil if there is none
}

func newPlaces(t *testing.T, args ...string) (places []load.Place) {
	t.Helper()
	for range 2 {
		port, err := freePort()
		if err != nil {
			t.Fatal(err)
		}
		places = append(places, &place{dir: shortDir(t), port: port, args: args})
	}
	return places
}

func (p *place) Address() string        { return address(p.port) }
func (p *place) Logs(*testing.T) string { return filepath.Join(p.dir, "logs") }

func (p *place) Start(t *testing.T) {
	t.Helper()
	pod, err := startPod(settings{dir: p.dir, port: p.port, args: p.args})
	if err != nil {
		t.Fatal(err)
	}
	p.pod = pod
	t.Cleanup(func() {
		pod.kill()
		pod.show(t)
	})
}

func (p *place) Stop(t *testing.T) {
	t.Helper()
	if p.pod != nil {
		p.pod.mustStop(t)
		p.pod = nil
	}
}

func (p *place) Kill(t *testing.T, process string) *load.Kill {
	t.Helper()
	pid := p.pod.childPID(process)
	if !alive(pid) {
		return nil
	}
	k := load.Killing(process)
	signalPID(t, pid, syscall.SIGKILL)
	await(t, "another "+process, func() bool { return p.pod.childPID(process) != pid })
	return k
}

func TestRollingRestartsLoseNothing(t *testing.T) {
	places := newPlaces(t, "--drain-delay", "3s", "--drain-quiet", "6s", "--drain-timeout", "7s")
	load.NewFleet(t, root, places...).Roll(t, *restarts)
}

// TestCrashesAreToldAndMended wants the supervisors to have mended as much as was killed.
func TestCrashesAreToldAndMended(t *testing.T) {
	places := newPlaces(t)
	kills := load.NewFleet(t, root, places...).Crash(t, *crashes, "engine", "proxy", "sidecar")
	died := 0
	for _, p := range places {
		lines, err := readLogs(p.Logs(t), "serve")
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range lines {
			if l.str("msg") == "child died" {
				died++
			}
		}
	}
	if died != len(kills) {
		t.Errorf("%d processes were killed, and %d died", len(kills), died)
	}
}
