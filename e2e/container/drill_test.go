package container

import (
	"flag"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/semantic-pod/semantic/e2e/load"
)

var (
	restarts = flag.Int("drill", 2, "how many rolling restarts TestRollingPodsLoseNothing makes")
	crashes  = flag.Duration("crash-drill", 10*time.Second, "how long TestCrashedPodsAreToldAndMended goes on")
)

// containers of a pod in the order in which a kubelet stops native sidecars.
var containers = []string{"proxy", "engine", "sidecar"}

// place is where one pod after the other is played, on the same port and volumes.
type place struct {
	*pod
	plays bool
}

func newPlaces(t *testing.T, more ...string) []load.Place {
	t.Helper()
	var places []load.Place
	for range 2 {
		// Each stop archives a file of each log: the verdict needs them all.
		places = append(places, &place{pod: newPod(t, freePort(t), append(more, "--set", "config.log-keep=10000")...)})
	}
	return places
}

func (p *place) Address() string          { return strings.TrimPrefix(p.url, "http://") }
func (p *place) Logs(t *testing.T) string { return p.logDir(t) }

func (p *place) Start(t *testing.T) {
	t.Helper()
	podman(t, "kube", "play", p.manifest)
	p.plays = true
}

func (p *place) Stop(t *testing.T) {
	t.Helper()
	if p.plays {
		p.stop(t)
		podman(t, "pod", "rm", "--force", p.name)
		p.plays = false
	}
}

// Kill ends a container, which podman starts again, or all processes of the pod at once,
// for which another is played, as after a host's fall.
func (p *place) Kill(t *testing.T, process string) *load.Kill {
	t.Helper()
	victims := []string{p.name + "-" + process}
	if process == load.WholePod {
		victims = append(strings.Fields(podman(t, "pod", "inspect", "--format", "{{.InfraContainerID}}", p.name)),
			p.name+"-proxy", p.name+"-engine", p.name+"-sidecar")
	}
	running := p.running(t, victims)
	if len(running) < len(victims) {
		return nil
	}
	k := load.Killing(process)
	for _, pid := range running {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
	if process == load.WholePod {
		// podman may be about to start one of them again, and then cannot remove it yet.
		await(t, "removal of the dead pod", func() bool {
			_, err := podmanOutput("pod", "rm", "--force", "--ignore", "--time", "0", p.name)
			return err == nil
		})
		p.Start(t)
		return k
	}
	await(t, "another "+process, func() bool {
		now := p.running(t, victims)
		return len(now) == 1 && now[0] != running[0]
	})
	return k
}

// running is the processes of those of the containers that run.
func (p *place) running(t *testing.T, of []string) (pids []int) {
	t.Helper()
	out := ""
	await(t, "podman's word on what runs", func() (known bool) { // it fails on a process that dies while it looks
		var err error
		out, err = podmanOutput(append([]string{"inspect", "--format", "{{.State.Pid}}"}, of...)...)
		return err == nil
	})
	for _, pid := range strings.Fields(out) {
		if n, err := strconv.Atoi(pid); err != nil {
			t.Fatal(err)
		} else if n > 1 {
			pids = append(pids, n)
		}
	}
	return pids
}

// Pods of containers are rolled under the same load and the same verdict as
// e2e's `semantic serve`.
func TestRollingPodsLoseNothing(t *testing.T) {
	t.Parallel()
	places := newPlaces(t, "--set", "stop.drainDelay=3,stop.drainTimeout=7", "--set-string", "config.drain-quiet=6s")
	load.NewFleet(t, root, places...).Roll(t, *restarts)
}

// podman starts a killed container again, as the kubelet would.
func TestCrashedPodsAreToldAndMended(t *testing.T) {
	t.Parallel()
	kills := load.NewFleet(t, root, newPlaces(t)...).Crash(t, *crashes, "engine", "proxy", load.WholePod, "sidecar")
	count := map[string]int{}
	for _, k := range kills {
		count[k.Process]++
	}
	t.Logf("killed: %v", count)
}

var root = func() string {
	dir, err := filepath.Abs("../..")
	if err != nil {
		panic(err)
	}
	return dir
}()
