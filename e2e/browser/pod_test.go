package browser

import (
	"bufio"
	"bytes"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

const adminKey = "an-admin-key-of-the-test-0123456789"

// pod is one `semantic serve`, with the built-in model if no other is given.
type pod struct {
	cmd              *exec.Cmd
	dir, url, screen string
	link             string // that it printed
}

// lastPort is below the ports that the kernel gives to connections.
var lastPort atomic.Int32

func init() { lastPort.Store(10000 + rand.Int32N(8000)) }

// freeAddress is one on which nobody listens.
func freeAddress(t *testing.T) string {
	t.Helper()
	for range 1000 {
		address := fmt.Sprintf("127.0.0.1:%d", lastPort.Add(1))
		if l, err := net.Listen("tcp", address); err == nil {
			l.Close()
			return address
		}
	}
	t.Fatal("no TCP port is free")
	return ""
}

func startPod(t *testing.T, args ...string) *pod {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "console") // short, since sockets lie in it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	front, side := freeAddress(t), freeAddress(t)
	p := &pod{dir: dir, url: "http://" + front, screen: "http://" + side}
	given := []string{"serve", "--data-dir", dir, "--model", "semantic-builtin", "--port", front[strings.LastIndex(front, ":")+1:], "--sidecar-listen", side, "--drain-delay", "0s"}
	p.cmd = exec.Command(filepath.Join(root, "bin", "semantic"), append(given, args...)...)
	p.cmd.Env = append(os.Environ(), "SEMANTIC_ADMIN_KEY="+adminKey)
	var said bytes.Buffer
	p.cmd.Stderr = &said
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatalf("%v; run: make build", err)
	}
	found := make(chan string, 1)
	var reader sync.WaitGroup
	reader.Go(func() {
		form := regexp.MustCompile(`http://\S+/console/enter\?ticket=\S+`)
		for scan := bufio.NewScanner(out); scan.Scan(); {
			if link := form.FindString(scan.Text()); link != "" {
				found <- link
			}
		}
	})
	t.Cleanup(func() {
		_ = p.cmd.Process.Signal(syscall.SIGTERM)
		reader.Wait()
		if err := p.cmd.Wait(); err != nil && t.Failed() {
			t.Logf("serve: %v\n%s", err, &said)
		}
	})
	select {
	case p.link = <-found:
	case <-time.After(patience):
		t.Fatal("serve printed no link to the console")
	}
	return p
}

// ask chats with the pod, as any client.
func (p *pod) ask(t *testing.T, agent, question string) (requestID string) {
	t.Helper()
	body := fmt.Sprintf(`{"model":"default","temperature":0,"max_tokens":64,"messages":[{"role":"user","content":%q}]}`, question)
	req, err := http.NewRequest(http.MethodPost, p.url+"/v1/chat/completions", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-Agent-ID", agent)
	req.Header.Set("User-Agent", canary)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("status %d", resp.StatusCode)
	}
	return resp.Header.Get("X-Request-ID")
}

// child finds the pod's process of a command.
func (p *pod) child(t *testing.T, command string) int {
	t.Helper()
	pid, ok := p.running(command)
	if !ok {
		t.Fatalf("the pod has no process %s", command)
	}
	return pid
}

func (p *pod) running(command string) (pid int, ok bool) {
	all, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, path := range all {
		text, _ := os.ReadFile(path)
		words := strings.Split(string(text), "\x00")
		pid, _ := strconv.Atoi(strings.Split(path, "/")[2])
		stat, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		fields := strings.Fields(string(stat))
		if len(words) > 1 && words[1] == command && len(fields) > 3 && fields[3] == strconv.Itoa(p.cmd.Process.Pid) {
			return pid, true
		}
	}
	return 0, false
}

// awaitScreen waits until the sidecar answers.
func (p *pod) awaitScreen(t *testing.T) {
	t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if resp, err := http.Get(p.screen + "/"); err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return
			}
		}
	}
	t.Fatal("the sidecar does not answer")
}
