package sidecar

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/semantic-pod/semantic/api"
	"github.com/semantic-pod/semantic/sidecar/alertmanager"
)

// standIn answers as a proxy does on its socket.
type standIn struct {
	reason atomic.Value
	server *http.Server
}

func newStandIn(t testing.TB, socket string) *standIn {
	t.Helper()
	p := &standIn{}
	p.reason.Store("")
	ln, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	p.server = &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		reason := p.reason.Load().(string)
		json.NewEncoder(w).Encode(api.ProxyState{Ready: reason == "", Reason: reason})
	})}
	done := make(chan struct{})
	go func() { defer close(done); p.server.Serve(ln) }()
	t.Cleanup(func() { p.server.Close(); <-done })
	return p
}

func silencesOf(t testing.TB, am *server) []alertmanager.Silence {
	t.Helper()
	client := alertmanager.New(am.url)
	defer client.Close()
	s := &silencer{instances: []string{"127.0.0.1:8000", "127.0.0.1:8002"}}
	list, err := client.Active(context.Background(), silenceAuthor, s.matchers())
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// silenceConfig is that of a sidecar beside a proxy.
func silenceConfig(t testing.TB, am *server) Config {
	t.Helper()
	sockets, err := os.MkdirTemp("", "sc") // a socket's name must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(sockets) })
	cfg := testConfig(t.TempDir())
	cfg.ProxySocket = filepath.Join(sockets, "proxy.sock")
	cfg.Rules = RulesConfig{Mode: rulesOff, Alertmanager: am.url, SilenceFor: 3 * time.Second, Instances: []string{"127.0.0.1:8000", "127.0.0.1:8002"}}
	return cfg
}

// A planned drain is silent from its first word to the proxy's return, and no longer:
// the silence is of this pod, short, extended while it lasts.
func TestDrainIsSilencedUntilTheProxyIsBack(t *testing.T) {
	am := newAlertmanager(t)
	cfg := silenceConfig(t, am)
	p := newStandIn(t, cfg.ProxySocket)
	s := startTest(t, cfg)
	dutySays(t, s, "silence", "connection refused") // and nothing depends on it
	am.start()
	eventually(t, "Alertmanager was asked", func() bool { d := dutyOf(t, s, "silence"); return d.OK && d.Error == "" })
	if list := silencesOf(t, am); len(list) > 0 {
		t.Fatalf("a silence without a drain: %+v", list)
	}

	p.reason.Store("shutting_down")
	eventually(t, "a silence", func() bool { return len(silencesOf(t, am)) == 1 })
	first := silencesOf(t, am)[0]
	if left := time.Until(first.EndsAt); left > cfg.Rules.SilenceFor {
		t.Errorf("the silence holds %s", left)
	}
	eventually(t, "the silence is extended", func() bool {
		list := silencesOf(t, am)
		return len(list) == 1 && list[0].ID == first.ID && list[0].EndsAt.After(first.EndsAt)
	})
	if got := gauge(t, s, "semantic_silence_active"); got != "1" {
		t.Errorf("semantic_silence_active %s", got)
	}

	p.reason.Store("")
	eventually(t, "the silence is lifted", func() bool { return len(silencesOf(t, am)) == 0 })

	// A sidecar that dies in a drain: the silence ends by itself.
	p.reason.Store("shutting_down")
	eventually(t, "a silence", func() bool { return len(silencesOf(t, am)) == 1 })
	stop(t, s)
	eventually(t, "the silence ends by itself", func() bool { return len(silencesOf(t, am)) == 0 })
}

// One that comes back while its proxy is well lifts what is left of an earlier one.
func TestSilenceOfAnEarlierSidecarIsLifted(t *testing.T) {
	am := newAlertmanager(t)
	am.start()
	cfg := silenceConfig(t, am)
	cfg.Rules.SilenceFor = 10 * time.Minute
	p := newStandIn(t, cfg.ProxySocket)
	p.reason.Store("shutting_down")
	s := startTest(t, cfg)
	eventually(t, "a silence", func() bool { return len(silencesOf(t, am)) == 1 })
	stop(t, s)
	p.reason.Store("")
	startTest(t, cfg)
	eventually(t, "the silence is lifted", func() bool { return len(silencesOf(t, am)) == 0 })
}
