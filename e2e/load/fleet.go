package load

import (
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

// patience is how long a drill waits for what must happen. It is far above what a
// healthy pod needs on a slow machine.
const patience = 60 * time.Second

// Place is where one pod runs at a time, and what outlives it: its address, its logs.
type Place interface {
	Address() string
	Start(t *testing.T)                      // puts a pod there; it need not be ready yet
	Stop(t *testing.T)                       // ends the pod in order and wants it to end well; there may be none
	Kill(t *testing.T, process string) *Kill // returns when it runs again; nil if it did not run
	Logs(t *testing.T) string                // the folder of all its pods' logs, when the last has stopped
}

// Fleet is places for two pods behind a balancer, and the clients in front of it.
type Fleet struct {
	root     string
	places   [2]Place
	balancer *Balancer
}

// NewFleet starts the balancer. What the clients are lies below the repository's root.
func NewFleet(t *testing.T, root string, places ...Place) *Fleet {
	t.Helper()
	dir, err := os.MkdirTemp("", "fleet")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	var own [2]string
	for i := range own {
		port, err := FreePort()
		if err != nil {
			t.Fatal(err)
		}
		own[i] = net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	}
	f := &Fleet{root: root, places: [2]Place(places)}
	if f.balancer, err = NewBalancer(dir, own[0], own[1], places[0].Address(), places[1].Address()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if said := f.balancer.Stop(); t.Failed() {
			t.Logf("the balancer:\n%s", said[max(0, len(said)-4000):])
		}
	})
	return f
}

// Roll rolls pods as a Deployment does: the new one is ready, by what a balancer sees,
// before the old one is told to stop. Clients with their retries off ask all the time.
func (f *Fleet) Roll(t *testing.T, restarts int) {
	t.Helper()
	f.start(t, 0)
	clients := f.clients(t)
	began := time.Now()
	for i := range restarts {
		f.start(t, (i+1)%2)
		asked := clients.Count()
		f.places[i%2].Stop(t)
		await(t, "requests to the new pod", func() bool { return clients.Count() > asked })
		if (i+1)%10 == 0 {
			t.Logf("%d restarts in %s, %d requests", i+1, time.Since(began).Round(time.Second), clients.Count())
		}
	}
	took := time.Since(began)
	v := f.judge(t, clients, JudgeRolling)
	t.Logf("%d restarts in %s", restarts, took.Round(time.Second))
	if v.Classes["answered"] < restarts*10 {
		t.Errorf("%d requests were answered in %d restarts: that is no load", v.Classes["answered"], restarts)
	}
}

// Crash kills processes of two pods for that long, at random under the same load, each
// at least once, and only while the other pod is ready and the balancer sends to it. It
// returns the kills.
func (f *Fleet) Crash(t *testing.T, long time.Duration, processes ...string) []Kill {
	t.Helper()
	f.start(t, 0)
	f.start(t, 1)
	clients := f.clients(t)
	chance := rand.New(rand.NewPCG(1, 2))
	var kills []Kill
	for end := time.Now().Add(long); time.Now().Before(end) || len(kills) < len(processes); {
		time.Sleep(time.Duration(500+chance.IntN(2000)) * time.Millisecond)
		place, process := chance.IntN(2), processes[len(kills)%len(processes)]
		f.await(t, 1-place)
		await(t, "the other pod", func() bool { return f.ready(1 - place) })
		if k := f.places[place].Kill(t, process); k != nil {
			k.Mended = now()
			kills = append(kills, *k)
		}
	}
	f.await(t, 0)
	f.await(t, 1)
	v := f.judge(t, clients, func(outcomes []Outcome, ends Ends) *Verdict { return JudgeCrashes(outcomes, ends, kills) })
	t.Logf("%d kills", len(kills))
	if len(v.Faults) > 0 {
		t.Logf("%+v", kills)
	}
	if v.Classes["answered"] < len(kills) {
		t.Errorf("%d requests were answered in %d kills: that is no load", v.Classes["answered"], len(kills))
	}
	return kills
}

// start puts a pod into its place and returns when the balancer sends to it.
func (f *Fleet) start(t *testing.T, place int) {
	t.Helper()
	f.places[place].Start(t)
	f.await(t, place)
}

func (f *Fleet) await(t *testing.T, place int) {
	t.Helper()
	await(t, "the balancer to send to the pod", func() bool {
		sends, err := f.balancer.Sends(place)
		if err != nil {
			t.Fatal(err)
		}
		return sends
	})
}

// ready asks the pod itself: the balancer is a second late to know that one is not.
func (f *Fleet) ready(place int) bool {
	client := http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	r, err := client.Get("http://" + f.places[place].Address() + "/health/ready")
	if err != nil {
		return false
	}
	return r.Body.Close() == nil && r.StatusCode == http.StatusOK
}

func (f *Fleet) clients(t *testing.T) *Clients {
	t.Helper()
	c, err := Start(filepath.Join(f.root, ".tools", "venv", "bin", "python"), filepath.Join(f.root, "e2e", "python", "drill.py"),
		"default", "http://"+f.balancer.HTTP, "http://"+f.balancer.TCP)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = c.Stop(0) }) // it has been stopped if all went well
	return c
}

// judge ends the load, then the pods, and holds what the clients saw to what the logs say.
func (f *Fleet) judge(t *testing.T, clients *Clients, by func([]Outcome, Ends) *Verdict) *Verdict {
	t.Helper()
	outcomes, err := clients.Stop(2 * patience)
	if err != nil {
		t.Error(err)
	}
	ends := Ends{}
	for _, p := range f.places {
		p.Stop(t)
		if err := ends.Read(p.Logs(t)); err != nil {
			t.Fatal(err)
		}
	}
	v := by(outcomes, ends)
	for i, fault := range v.Faults {
		if t.Error(fault); i == 20 {
			break
		}
	}
	t.Log(v)
	return v
}

// now is in seconds since 1970, as the clients tell it.
func now() float64 { return float64(time.Now().UnixMicro()) / 1e6 }

// Killing is to be made right before the signal.
func Killing(process string) *Kill { return &Kill{Process: process, At: now()} }

func await(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !cond(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited %s in vain for %s", patience, what)
		}
	}
}
