package e2e

import (
	"flag"
	"math/rand/v2"
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

// fleet is two places for pods behind a balancer, and the clients in front of it.
type fleet struct {
	balancer *load.Balancer
	dirs     [2]string
	ports    [2]int
	pods     [2]*pod
	args     []string
}

func newFleet(t *testing.T, args ...string) *fleet {
	t.Helper()
	f := &fleet{args: args}
	var places [4]string
	for i := range places {
		port, err := freePort()
		if err != nil {
			t.Fatal(err)
		}
		places[i] = address(port)
		if i < 2 {
			f.dirs[i], f.ports[i] = shortDir(t), port
		}
	}
	var err error
	if f.balancer, err = load.NewBalancer(shortDir(t), places[2], places[3], places[:2]...); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if said := f.balancer.Stop(); t.Failed() {
			t.Logf("the balancer:\n%s", tail(said, 4000))
		}
	})
	return f
}

// start puts a pod into its place and returns when the balancer sends to it.
func (f *fleet) start(t *testing.T, place int) {
	t.Helper()
	p, err := startPod(settings{dir: f.dirs[place], port: f.ports[place], args: f.args})
	if err != nil {
		t.Fatal(err)
	}
	f.pods[place] = p
	t.Cleanup(func() {
		p.kill()
		p.show(t)
	})
	f.await(t, place)
}

func (f *fleet) await(t *testing.T, place int) {
	t.Helper()
	await(t, "the balancer to send to the pod", func() bool {
		sends, err := f.balancer.Sends(place)
		if err != nil {
			t.Fatal(err)
		}
		return sends
	})
}

func (f *fleet) clients(t *testing.T) *load.Clients {
	t.Helper()
	c, err := load.Start(python, filepath.Join(root, "e2e", "python", "drill.py"), "default", "http://"+f.balancer.HTTP, "http://"+f.balancer.TCP)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = c.Stop(0) }) // it has been stopped if all went well
	return c
}

// ends is how all pods' logs say that each request ended.
func (f *fleet) ends(t *testing.T) load.Ends {
	t.Helper()
	ends := load.Ends{}
	for _, dir := range f.dirs {
		if err := ends.Read(filepath.Join(dir, "logs")); err != nil {
			t.Fatal(err)
		}
	}
	return ends
}

func (f *fleet) stop(t *testing.T) {
	t.Helper()
	for _, p := range f.pods {
		if p != nil && !p.asked {
			p.mustStop(t)
		}
	}
}

func reportVerdict(t *testing.T, v *load.Verdict) {
	t.Helper()
	for i, fault := range v.Faults {
		if t.Error(fault); i == 20 {
			break
		}
	}
	t.Log(v)
}

// TestRollingRestartsLoseNothing rolls pods as a Deployment does: the new one is ready,
// by what a balancer sees, before the old one is told to stop. Clients with their
// retries off ask all the time.
func TestRollingRestartsLoseNothing(t *testing.T) {
	f := newFleet(t, "--drain-delay", "1s", "--drain-quiet", "6s", "--drain-timeout", "7s")
	f.start(t, 0)
	clients := f.clients(t)
	began := time.Now()
	for i := range *restarts {
		f.start(t, (i+1)%2)
		asked := clients.Count()
		f.pods[i%2].mustStop(t)
		await(t, "requests to the new pod", func() bool { return clients.Count() > asked })
	}
	took := time.Since(began)
	outcomes, err := clients.Stop(2 * patience)
	if err != nil {
		t.Error(err)
	}
	f.stop(t)
	v := load.JudgeRolling(outcomes, f.ends(t))
	reportVerdict(t, v)
	t.Logf("%d restarts in %s", *restarts, took.Round(time.Second))
	if v.Classes["answered"] < *restarts*10 {
		t.Errorf("%d requests were answered in %d restarts: that is no load", v.Classes["answered"], *restarts)
	}
}

// TestCrashesAreToldAndMended kills processes of two pods at random under the same load.
func TestCrashesAreToldAndMended(t *testing.T) {
	f := newFleet(t)
	f.start(t, 0)
	f.start(t, 1)
	clients := f.clients(t)
	chance := rand.New(rand.NewPCG(1, 2))
	var kills []load.Kill
	for end := time.Now().Add(*crashes); time.Now().Before(end) || len(kills) < 3; {
		time.Sleep(time.Duration(500+chance.IntN(2000)) * time.Millisecond)
		place := chance.IntN(2)
		process := []string{"engine", "proxy", "sidecar"}[len(kills)%3]
		pid := f.pods[place].childPID(process)
		if !alive(pid) {
			continue
		}
		kills = append(kills, load.Kill{Process: process, At: float64(time.Now().UnixMilli()) / 1000})
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		await(t, "another "+process, func() bool { return f.pods[place].childPID(process) != pid })
	}
	for place := range f.pods {
		f.await(t, place)
	}
	outcomes, err := clients.Stop(2 * patience)
	if err != nil {
		t.Error(err)
	}
	f.stop(t)
	reportVerdict(t, load.JudgeCrashes(outcomes, f.ends(t), kills))
	t.Logf("%d kills", len(kills))
	f.countRestarts(t, len(kills))
}

// countRestarts wants the supervisors to have mended as much as was killed.
func (f *fleet) countRestarts(t *testing.T, kills int) {
	t.Helper()
	died := 0
	for _, dir := range f.dirs {
		lines, err := readLogs(filepath.Join(dir, "logs"), "serve")
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range lines {
			if l.str("msg") == "child died" {
				died++
			}
		}
	}
	if died != kills {
		t.Errorf("%d processes were killed, and %d died", kills, died)
	}
}
