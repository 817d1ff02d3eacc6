package container

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/semantic-pod/semantic/e2e/load"
)

const patience = 60 * time.Second

// pod is the chart's dev rendering, run by podman: three containers, a socket between
// them, volumes that outlive them.
type pod struct {
	manifest, name, url string
	logs, data          string // volumes
}

func newPod(t *testing.T, port int, more ...string) *pod {
	t.Helper()
	name := fmt.Sprintf("semantic-test-%d", port)
	p := &pod{name: name + "-pod-0", url: fmt.Sprintf("http://127.0.0.1:%d", port), logs: name + "-logs", data: name + "-data"}
	for _, volume := range []string{p.logs, p.data} {
		podman(t, "volume", "create", "--opt", "o=uid=65532,gid=65532", volume)
		t.Cleanup(func() { podman(t, "volume", "rm", "--force", volume) })
	}
	t.Cleanup(func() { _, _ = podmanOutput("volume", "rm", "--force", name) }) // of the ConfigMap, if it came to be
	models, err := filepath.Abs("../../models")
	if err != nil {
		t.Fatal(err)
	}
	chart := "../../deploy/helm/semantic"
	repository, tag, _ := strings.Cut(image, ":")
	text, err := output(exec.Command("../../.tools/helm", append([]string{"template", name, chart, "--values", chart + "/values-dev.yaml",
		"--show-only", "templates/config.yaml", "--show-only", "templates/workload.yaml",
		"--set", "nativeSidecars=false", "--set", "image.repository=" + repository, "--set", "image.tag=" + tag, "--set", "model.hostPath=" + models,
		// podman publishes a port without a hostPort at its own number, which one pod can have.
		"--set", fmt.Sprintf("hostPorts.ip=127.0.0.1,hostPorts.http=%d,hostPorts.sidecar=%d", port, freePort(t)),
		"--set", "persistence.data.existingClaim=" + p.data, "--set", "persistence.logs.existingClaim=" + p.logs}, more...)...))
	if err != nil {
		t.Fatalf("%v; if helm is missing, run: make test-setup", err)
	}
	p.manifest = filepath.Join(t.TempDir(), "pod.yaml")
	if err := os.WriteFile(p.manifest, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			for _, c := range containers {
				out, _ := podmanOutput("logs", "--tail", "15", p.name+"-"+c)
				t.Logf("%s:\n%s", c, out)
			}
		}
		_, _ = podmanOutput("pod", "rm", "--force", p.name) // it is gone already if all went well
	})
	return p
}

func (p *pod) play(t *testing.T) {
	t.Helper()
	podman(t, "kube", "play", p.manifest)
	p.awaitStatus(t, http.StatusOK)
}

// stop ends the containers as the kubelet ends native sidecars: one after the other.
func (p *pod) stop(t *testing.T) {
	t.Helper()
	for _, c := range containers {
		podman(t, "stop", "--time", "150", p.name+"-"+c)
	}
	p.endedWell(t)
}

// termAtOnce does as a kubelet that knows no native sidecars: all get SIGTERM at once,
// and the engine serves until the proxy has drained. podman starts each again. ("podman
// pod stop" would take the network away first.)
func (p *pod) termAtOnce(t *testing.T) {
	t.Helper()
	podman(t, "kill", "--signal", "TERM", p.name+"-proxy", p.name+"-engine", p.name+"-sidecar")
}

func (p *pod) endedWell(t *testing.T) {
	t.Helper()
	for _, c := range containers {
		if status := podman(t, "inspect", "--format", "{{.State.ExitCode}}", p.name+"-"+c); status != "0" {
			t.Errorf("%s ended with status %s", c, status)
		}
	}
}

func (p *pod) awaitStatus(t *testing.T, want int) {
	t.Helper()
	await(t, fmt.Sprintf("readiness %d", want), func() bool {
		r, err := http.Get(p.url + "/health/ready")
		if err != nil {
			return false
		}
		r.Body.Close()
		return r.StatusCode == want
	})
}

func await(t *testing.T, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !done(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("no %s within %s", what, patience)
		}
	}
}

func freePort(t *testing.T) int {
	t.Helper()
	port, err := load.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	return port
}

type message map[string]string

// ask sends a chat.
func (p *pod) ask(t *testing.T, agent string, stream bool, tokens int, messages ...message) *http.Response {
	t.Helper()
	body, err := json.Marshal(map[string]any{"model": "default", "temperature": 0, "max_tokens": tokens, "stream": stream, "messages": messages})
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequest(http.MethodPost, p.url+"/v1/chat/completions", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	if agent != "" {
		req.Header.Set("X-Agent-ID", agent)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	return resp
}

// answer is what a chat said, and how many tokens of its prompt were cached.
func (p *pod) answer(t *testing.T, agent string, messages ...message) (text string, cached int) {
	t.Helper()
	resp := p.ask(t, agent, false, 24, messages...)
	defer resp.Body.Close()
	var got struct {
		Choices []struct{ Message struct{ Content string } }
		Usage   struct {
			Details struct {
				Cached int `json:"cached_tokens"`
			} `json:"prompt_tokens_details"`
		}
	}
	b, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK || json.Unmarshal(b, &got) != nil || len(got.Choices) != 1 {
		t.Fatalf("%d %s %v", resp.StatusCode, b, err)
	}
	return got.Choices[0].Message.Content, got.Usage.Details.Cached
}

// TestPodOfContainers leads one pod through what befalls it: a killed engine, a stop
// under load, a new start on the same volumes.
func TestPodOfContainers(t *testing.T) {
	p := newPod(t, freePort(t), "--set", "stop.drainTimeout=120", "--set-string", "config.log-rotate-bytes=4KiB")
	p.play(t)
	question := message{"role": "user", "content": "Name the capital of Italy."}
	if text, _ := p.answer(t, "", question); !strings.Contains(text, "Rome") {
		t.Errorf("the pod answers %q", text)
	}
	p.killedEngine(t, question)

	first, _ := p.answer(t, "traveller", question)
	ids := p.stopUnderStreams(t, 50, p.stop)
	podman(t, "pod", "rm", "--force", p.name)
	p.provenLogs(t, ids)

	p.play(t)
	_, cached := p.answer(t, "traveller", question, message{"role": "assistant", "content": first}, message{"role": "user", "content": "And the capital of France?"})
	if cached < 20 {
		t.Errorf("the agent came back with %d tokens cached", cached)
	}
	p.stopUnderStreams(t, 10, p.termAtOnce)
	for _, c := range containers {
		p.awaitRestart(t, c, 1)
		if out, err := output(exec.Command("sh", "-c", `exec podman logs "$0" 2>&1`, p.name+"-"+c)); err != nil || strings.Contains(out, "process failed") {
			t.Errorf("%s did not end well: %v\n%s", c, err, out)
		}
	}
	p.awaitStatus(t, http.StatusOK)
	p.stop(t)
}

// killedEngine: the proxy refuses politely until the engine is back, which podman sees to.
// It takes longer to start a container than to ask.
func (p *pod) killedEngine(t *testing.T, question message) {
	t.Helper()
	p.kill(t, "engine")
	await(t, "polite refusal", func() bool {
		refused := p.ask(t, "", false, 1, question)
		defer refused.Body.Close()
		body, err := io.ReadAll(refused.Body)
		switch refused.StatusCode {
		case http.StatusServiceUnavailable:
			if refused.Header.Get("Retry-After") == "" || !bytes.Contains(body, []byte(`"error"`)) {
				t.Errorf("refused with %v %s", refused.Header, body)
			}
			return true
		case http.StatusBadGateway: // the proxy has not missed the engine yet
			return false
		}
		t.Fatalf("without an engine: %d %s %v", refused.StatusCode, body, err)
		return false
	})
	p.awaitRestart(t, "engine", 1)
	p.awaitStatus(t, http.StatusOK)
	p.answer(t, "", question)
}

// kill ends a container's process from outside: a container that "podman kill" ended is
// not started again.
func (p *pod) kill(t *testing.T, container string) {
	t.Helper()
	pid, err := strconv.Atoi(podman(t, "inspect", "--format", "{{.State.Pid}}", p.name+"-"+container))
	if err != nil || pid <= 1 {
		t.Fatalf("%s runs as %d, %v", container, pid, err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
}

// awaitRestart waits until podman has started a container that often again.
func (p *pod) awaitRestart(t *testing.T, container string, times int) {
	t.Helper()
	await(t, container+"'s new start", func() bool {
		return podman(t, "inspect", "--format", "{{.RestartCount}} {{.State.Running}}", p.name+"-"+container) == fmt.Sprintf("%d true", times)
	})
}

// stopUnderStreams stops the pod when all streams have begun, and returns their ids.
func (p *pod) stopUnderStreams(t *testing.T, n int, stop func(*testing.T)) (ids []string) {
	t.Helper()
	var begun, ended sync.WaitGroup
	faults := make(chan error, n)
	for i := range n {
		resp := p.ask(t, "", true, 60, message{"role": "user", "content": fmt.Sprintf("Count from %d upwards.", i)})
		ids = append(ids, resp.Header.Get("X-Request-ID"))
		begun.Add(1)
		ended.Go(func() { faults <- readStream(resp, begun.Done) })
	}
	begun.Wait()
	stop(t)
	ended.Wait()
	for range n {
		if err := <-faults; err != nil {
			t.Error(err)
		}
	}
	return ids
}

// readStream reads to the end, which must be told: by [DONE], or by an error event.
func readStream(resp *http.Response, begun func()) error {
	defer resp.Body.Close()
	var once sync.Once
	defer once.Do(begun)
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("a stream began with %s", resp.Status)
	}
	told := false
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		once.Do(begun)
		if line := lines.Text(); line == "data: [DONE]" || strings.HasPrefix(line, `data: {"error"`) {
			told = true
		}
	}
	if err := lines.Err(); err != nil || !told {
		return fmt.Errorf("a stream ended without saying so: %w", errors.Join(err, io.ErrUnexpectedEOF))
	}
	return nil
}

func (p *pod) logDir(t *testing.T) string {
	t.Helper()
	return podman(t, "volume", "inspect", "--format", "{{.Mountpoint}}", p.logs)
}

// provenLogs holds what lies on the volumes of a pod that is gone.
func (p *pod) provenLogs(t *testing.T, ids []string) {
	t.Helper()
	logs := p.logDir(t)
	verified, err := output(exec.Command("../../bin/semantic", "logs", "verify", logs))
	if err != nil {
		t.Errorf("the manifest: %v", err)
	}
	t.Logf("%s", strings.TrimSpace(verified))
	// To the last line: nothing is left in a file that the manifest does not list.
	if rest, err := filepath.Glob(filepath.Join(logs, "*.log")); err != nil || len(rest) > 0 {
		t.Errorf("not rotated at the end: %q, %v", rest, err)
	}
	for process, last := range map[string]string{"proxy": "proxy stopped", "engine": "engine stopped", "sidecar": "sidecar stopped"} {
		archived, err := filepath.Glob(filepath.Join(logs, process+".log.*.zst"))
		if err != nil || len(archived) == 0 {
			t.Errorf("no log of the %s was rotated: %v", process, err)
			continue
		}
		slices.Sort(archived)
		text, err := output(exec.Command("zstd", "-dcq", archived[len(archived)-1]))
		if err != nil || !strings.Contains(text[strings.LastIndexByte(strings.TrimSpace(text), '\n')+1:], last) {
			t.Errorf("%s does not end with %q: %v\n%s", archived[len(archived)-1], last, err, text)
		}
	}
	for _, id := range ids {
		out, err := output(exec.Command("../../bin/semantic", "logs", "--log-dir", logs, "--request-id", id))
		if err != nil || !strings.Contains(out, "proxy") {
			t.Errorf("request %s is not in the logs: %v\n%s", id, err, out)
		}
	}
	data := podman(t, "volume", "inspect", "--format", "{{.Mountpoint}}", p.data)
	agents := 0
	_ = filepath.WalkDir(data, func(_ string, d os.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			agents++
		}
		return nil
	})
	if agents == 0 {
		t.Error("no agent is on the volume")
	}
}
