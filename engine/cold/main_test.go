package cold_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"

	"github.com/semantic-pod/semantic/api"
	"github.com/semantic-pod/semantic/engine/enginetest"
	"github.com/semantic-pod/semantic/objectstore"
)

const patience = time.Minute // for what must happen; a failure, not a pace

var built struct{ dir, binary, weights string }

// TestMain builds the binary once: the pods of these tests are processes.
func TestMain(m *testing.M) {
	code := func() int {
		dir, err := os.MkdirTemp("", "cold")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		built.dir, built.binary, built.weights = dir, filepath.Join(dir, "semantic"), filepath.Join(dir, "random.gguf")
		args := append([]string{"build", "-o", built.binary}, buildFlags...)
		if out, err := exec.Command("go", append(args, "github.com/semantic-pod/semantic/cmd/semantic")...).CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "%v\n%s", err, out)
			return 1
		}
		if err := os.WriteFile(built.weights, enginetest.Bytes(enginetest.Shape{Context: 2048}), 0o600); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return m.Run()
	}()
	os.Exit(code)
}

// pod is an engine process on a socket and a disk of its own.
type pod struct {
	t      *testing.T
	dir    string
	args   []string
	client *http.Client
	cmd    *exec.Cmd
	stderr bytes.Buffer
	left   chan struct{} // closed when the process is gone
	prompt int           // tokens of the last prompt
}

// newPod returns a pod that has not started. Without a store it is one that shares nothing.
func newPod(t *testing.T, store string, args ...string) *pod {
	t.Helper()
	dir, err := os.MkdirTemp(built.dir, "p") // t.TempDir's names are too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	p := &pod{t: t, dir: dir, args: args}
	if store != "" {
		p.args = append([]string{"--cold-store", store, "--cold-after", "0s", "--cold-patience", "30s"}, args...)
	}
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(dir, "engine.sock"))
	}
	p.client = &http.Client{Transport: &http.Transport{DialContext: dial, MaxIdleConnsPerHost: 100}, Timeout: patience}
	t.Cleanup(func() {
		p.client.CloseIdleConnections()
		p.kill()
		if strings.Contains(p.stderr.String(), "DATA RACE") {
			t.Error("the pod has a data race")
		}
		if t.Failed() {
			s := p.stderr.String()
			t.Logf("%s:\n%s", dir, s[max(0, len(s)-6000):])
		}
	})
	return p
}

func startPod(t *testing.T, store string, args ...string) *pod {
	t.Helper()
	p := newPod(t, store, args...)
	p.start()
	return p
}

// start starts the process and waits until its model is loaded.
func (p *pod) start() {
	p.t.Helper()
	p.cmd = exec.Command(built.binary, append([]string{
		"engine", "--socket-dir", p.dir, "--data-dir", p.dir, "--log-dir", filepath.Join(p.dir, "logs"), "--threads", "1",
		"--log-level", "info", "--log-format", "json", "--model", built.weights, "--kv-memory", "8MiB",
	}, p.args...)...)
	p.cmd.Stderr = &p.stderr
	if err := p.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	p.left = make(chan struct{})
	go func(cmd *exec.Cmd, left chan struct{}) {
		_ = cmd.Wait() // its status is read from ProcessState
		close(left)
	}(p.cmd, p.left)
	p.await("the engine is ready", func() bool {
		select {
		case <-p.left:
			p.t.Fatalf("the engine ended with %v", p.cmd.ProcessState)
		default:
		}
		r, err := p.client.Get("http://engine" + api.PathState)
		if err != nil {
			return false
		}
		defer r.Body.Close()
		b, _ := io.ReadAll(r.Body)
		return strings.Contains(string(b), `"phase":"ready"`)
	})
}

// kill ends the process at once.
func (p *pod) kill() {
	if p.cmd == nil || p.left == nil {
		return
	}
	_ = p.cmd.Process.Kill() // it may be gone already
	<-p.left
	p.client.CloseIdleConnections()
}

// terminate lets the process end as an orchestrator does.
func (p *pod) terminate() {
	p.t.Helper()
	p.client.CloseIdleConnections()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		p.t.Fatal(err)
	}
	select {
	case <-p.left:
	case <-time.After(patience):
		p.t.Fatal("the engine does not end at SIGTERM")
	}
	if status := p.cmd.ProcessState.ExitCode(); status != 0 {
		p.t.Errorf("the engine ended with %d", status)
	}
}

// await waits for a condition that must come true.
func (p *pod) await(what string, ok func() bool) {
	p.t.Helper()
	await(p.t, what, ok)
}

func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain until %s", what)
		}
	}
}

// call sends a request of a tenant and returns the answer's status, header and body.
func (p *pod) call(method, path, body string, headers ...string) (int, http.Header, string) {
	p.t.Helper()
	r, err := http.NewRequest(method, "http://engine"+path, strings.NewReader(body))
	if err != nil {
		p.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	resp, err := p.client.Do(r)
	if err != nil {
		p.t.Fatalf("%s %s: %v", method, path, err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		p.t.Fatalf("%s %s: %v", method, path, err)
	}
	return resp.StatusCode, resp.Header, string(b)
}

// ask lets an agent of the tenant acme go on, and returns what it says and how many tokens of the
// prompt were cached.
func (p *pod) ask(agent, prompt string) (text string, cached int) {
	p.t.Helper()
	body, _ := json.Marshal(map[string]any{"model": "default", "prompt": prompt, "max_tokens": 16, "temperature": 0})
	headers := []string{api.HeaderTenant, "acme"}
	if agent != "" {
		headers = append(headers, api.HeaderAgent, agent)
	}
	status, header, answer := p.call(http.MethodPost, "/v1/completions", string(body), headers...)
	var reply struct{ Choices []struct{ Text string } }
	err := json.Unmarshal([]byte(answer), &reply)
	if err != nil || status != http.StatusOK || len(reply.Choices) != 1 {
		p.t.Fatalf("%d %s: %v", status, answer, err)
	}
	if p.prompt, err = strconv.Atoi(header.Get(api.HeaderPromptTokens)); err == nil {
		cached, err = strconv.Atoi(header.Get(api.HeaderCachedTokens))
	}
	if err != nil {
		p.t.Fatal(err)
	}
	return reply.Choices[0].Text, cached
}

// metric returns the value of a series.
func (p *pod) metric(series string) float64 {
	p.t.Helper()
	_, _, body := p.call(http.MethodGet, api.PathMetrics, "")
	for line := range strings.Lines(body) {
		if v, ok := strings.CutPrefix(line, series+" "); ok {
			n, err := strconv.ParseFloat(strings.TrimSpace(v), 64)
			if err != nil {
				p.t.Fatal(err)
			}
			return n
		}
	}
	p.t.Fatalf("there is no series %s", series)
	return 0
}

// settled waits until the store has all that this pod has.
func (p *pod) settled() {
	p.t.Helper()
	p.await("the store has all agents", func() bool {
		_, _, body := p.call(http.MethodGet, api.PathAgents, "")
		var list api.AgentList
		if err := json.Unmarshal([]byte(body), &list); err != nil || list.Cold == nil {
			p.t.Fatalf("%s: %v", body, err)
		}
		return list.Cold.Up && list.Cold.Pending == 0
	})
}

// logged says whether the process said so on stderr or in its log.
func (p *pod) logged(text string) bool {
	p.t.Helper()
	b, err := os.ReadFile(filepath.Join(p.dir, "logs", "engine.log"))
	if err != nil {
		p.t.Fatal(err)
	}
	return strings.Contains(string(b), text)
}

// folderStore is a store in a folder.
func folderStore(t *testing.T) (address, dir string) {
	t.Helper()
	dir = t.TempDir()
	return "file://" + dir, dir
}

// s3Store is a server that speaks as S3 does, which tells what was written to it and can be
// halted.
type s3Store struct {
	address string
	handler http.Handler
	server  *httptest.Server

	mu      sync.Mutex
	unfit   bool                                         // it overwrites whatever it is told to
	looked  int                                          // for agents
	written []string                                     // keys of objects that were created, in order
	gate    func(r *http.Request) (hold <-chan struct{}) // nil: nothing is held
}

func newS3(t *testing.T) *s3Store {
	t.Helper()
	backend := s3mem.New()
	if err := backend.CreateBucket("agents"); err != nil {
		t.Fatal(err)
	}
	s := &s3Store{handler: gofakes3.New(backend).Server()}
	s.server = httptest.NewServer(s)
	t.Cleanup(s.server.Close)
	t.Setenv("AWS_ACCESS_KEY_ID", "test")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "test")
	s.address = "s3://agents?region=us-east-1&use_path_style=true&endpoint=" + s.server.URL
	return s
}

func (s *s3Store) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	if strings.Count(r.URL.Query().Get("prefix"), "/") == 4 {
		s.looked++
	}
	var hold <-chan struct{}
	if s.gate != nil {
		hold = s.gate(r)
	}
	s.mu.Unlock()
	if hold != nil {
		select {
		case <-hold:
		case <-r.Context().Done():
			return
		}
	}
	if s.unfit {
		r.Header.Del("If-None-Match")
	}
	status := &statusWriter{ResponseWriter: w, status: http.StatusOK}
	s.handler.ServeHTTP(status, r)
	if r.Method == http.MethodPut && status.status == http.StatusOK {
		s.mu.Lock()
		s.written = append(s.written, strings.TrimPrefix(r.URL.Path, "/agents/"))
		s.mu.Unlock()
	}
}

type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w *statusWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

// hold keeps requests waiting that match, until the test's end.
func (s *s3Store) hold(t *testing.T, match func(r *http.Request) bool) (reached <-chan struct{}, release func()) {
	arrived, gate := make(chan struct{}), make(chan struct{})
	var once, open sync.Once
	s.mu.Lock()
	s.gate = func(r *http.Request) <-chan struct{} {
		if !match(r) {
			return nil
		}
		once.Do(func() { close(arrived) })
		return gate
	}
	s.mu.Unlock()
	release = func() { open.Do(func() { close(gate) }) }
	t.Cleanup(release)
	return arrived, release
}

// looks returns how often the store was asked for an agent.
func (s *s3Store) looks() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.looked
}

// keys returns what was written with that suffix.
func (s *s3Store) keys(suffix string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []string
	for _, key := range s.written {
		if strings.HasSuffix(key, suffix) {
			list = append(list, key)
		}
	}
	return list
}

// objects returns what lies in a store.
func objects(t *testing.T, address string) []objectstore.Object {
	t.Helper()
	b, err := objectstore.Open(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	all, err := b.List(t.Context(), "agents/")
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func withSuffix(all []objectstore.Object, suffix string) (keys []string) {
	for _, o := range all {
		if strings.HasSuffix(o.Key, suffix) {
			keys = append(keys, o.Key)
		}
	}
	return keys
}

// generation reads it from the key of what was written.
func generation(t *testing.T, key string) uint64 {
	t.Helper()
	name := filepath.Base(key)
	n, err := strconv.ParseUint(name[:16], 16, 64)
	if err != nil {
		t.Fatalf("%s: %v", key, err)
	}
	return n
}
