package main

import (
	"embed"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"text/template"
	"time"

	"github.com/semantic-pod/semantic/bench/measure"
)

//go:embed peers/nginx.conf peers/haproxy.cfg peers/Caddyfile
var configs embed.FS

// place is where a peer works, and what its configuration is filled with.
type place struct {
	Dir     string // its own folder
	Engine  string // the backend's socket
	Port    int    // that it listens on
	Key     string // that its clients have
	KeyFile string // where Semantic's proxy finds it
	Threads int
	User    string // that everything runs as
	Group   string
	On      bool // with key check, rate limit, request id and access log
}

// peer is one of the proxies that are compared.
type peer struct {
	name    string
	on      bool
	version []string // command that tells it
	command func(place) ([]string, error)

	place
	process *process
}

func (p *peer) label() string {
	if p.on {
		return p.name
	}
	return p.name + " bare"
}

// epollAlone is no proxy for use: see floor.
const epollAlone = "epoll"

// allPeers are the proxies, with all features and bare.
func allPeers(b binaries) []*peer {
	nginx := func(p place) ([]string, error) {
		file, err := p.render("nginx.conf")
		return []string{"nginx", "-p", p.Dir, "-c", file}, err
	}
	haproxy := func(p place) ([]string, error) {
		file, err := p.render("haproxy.cfg")
		if err == nil {
			err = os.WriteFile(filepath.Join(p.Dir, "keys.map"), []byte(p.Key+" bench\n"), 0o600)
		}
		return []string{"haproxy", "-f", file}, err
	}
	caddy := func(p place) ([]string, error) {
		file, err := p.render("Caddyfile")
		return []string{b.caddy, "run", "--adapter", "caddyfile", "--config", file}, err
	}
	reverse := func(p place) ([]string, error) {
		return []string{b.reverseProxy, "-listen", fmt.Sprintf("127.0.0.1:%d", p.Port), "-engine", p.Engine, "-key", p.Key,
			"-log", filepath.Join(p.Dir, "access.log")}, nil
	}
	epoll := func(p place) ([]string, error) {
		self, err := os.Executable()
		return []string{self, "-floor", fmt.Sprintf("127.0.0.1:%d", p.Port), "-backend", p.Engine}, err
	}
	semantic := func(p place) ([]string, error) { return p.semantic(b.semantic) }
	return []*peer{
		{name: "semantic", on: true, version: []string{b.semantic, "version"}, command: semantic},
		{name: "nginx", on: true, version: []string{"nginx", "-v"}, command: nginx},
		{name: "haproxy", on: true, version: []string{"haproxy", "-v"}, command: haproxy},
		{name: "caddy", on: true, version: []string{b.caddy, "version"}, command: caddy},
		{name: "reverseproxy", on: true, version: []string{"go", "version"}, command: reverse},
		{name: "semantic", version: []string{b.semantic, "version"}, command: semantic},
		{name: "nginx", version: []string{"nginx", "-v"}, command: nginx},
		{name: "haproxy", version: []string{"haproxy", "-v"}, command: haproxy},
		{name: epollAlone, version: []string{"go", "version"}, command: epoll},
	}
}

// semantic is our own command line. Bare, it asks for no key and so limits nobody,
// and writes no access log; ids and metrics cannot be had off.
func (p place) semantic(binary string) ([]string, error) {
	run := filepath.Join(p.Dir, "run")
	if err := os.MkdirAll(run, 0o700); err != nil {
		return nil, err
	}
	if err := os.Symlink(p.Engine, filepath.Join(run, "engine.sock")); err != nil {
		return nil, err
	}
	command := []string{binary, "proxy", "--data-dir", p.Dir, "--socket-dir", run, "--port", strconv.Itoa(p.Port),
		"--max-in-flight", "16384", "--drain-delay", "0s", "--drain-timeout", "1s"}
	if !p.On {
		return append(command, "--log-level", "error"), nil
	}
	return append(command, "--key-file", p.KeyFile, "--limit-nodelay"), nil
}

func (p place) render(name string) (string, error) {
	t, err := template.ParseFS(configs, "peers/"+name)
	if err != nil {
		return "", err
	}
	file, err := os.Create(filepath.Join(p.Dir, name))
	if err != nil {
		return "", err
	}
	defer file.Close()
	return file.Name(), t.Execute(file, p)
}

// begin starts the peer in a folder of its own and waits until it forwards.
func (p *peer) begin(dir string, at place) error {
	p.place = at
	p.Dir, p.On = filepath.Join(dir, strings.ReplaceAll(p.label(), " ", "-")), p.on
	if err := os.Mkdir(p.Dir, 0o700); err != nil {
		return err
	}
	ports, err := measure.FreePorts(1)
	if err != nil {
		return err
	}
	p.Port = ports[0]
	command, err := p.command(p.place)
	if err != nil {
		return err
	}
	if p.process, err = start(p.Dir, command...); err != nil {
		return err
	}
	return p.await(p.probe)
}

// await waits until the peer answers.
func (p *peer) await(probe func() error) error {
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		err := probe()
		if err == nil {
			return nil
		}
		if died := p.process.died(); died != nil {
			return died
		}
		if time.Now().After(end) {
			return fmt.Errorf("%s does not forward: %w", p.label(), err)
		}
	}
}

// probe asks once, as the load will.
func (p *peer) probe() error {
	r, err := http.NewRequest("POST", p.url(pathSmall), strings.NewReader(smallBody))
	if err != nil {
		return err
	}
	r.Header.Set("Authorization", "Bearer "+p.Key)
	r.Header.Set("Content-Type", "application/json")
	got, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer got.Body.Close()
	body, err := io.ReadAll(got.Body)
	if err != nil {
		return err
	}
	if got.StatusCode != http.StatusOK || !strings.Contains(string(body), `"content"`) {
		return fmt.Errorf("it answers %d %s", got.StatusCode, body)
	}
	if p.on && got.Header.Get("X-Request-ID") == "" {
		return fmt.Errorf("%s gives no request id", p.label())
	}
	return p.refusesStrangers()
}

// refusesStrangers proves that the key is truly looked at.
func (p *peer) refusesStrangers() error {
	got, err := http.Post(p.url(pathSmall), "application/json", strings.NewReader(smallBody))
	if err != nil {
		return err
	}
	got.Body.Close()
	if refused := got.StatusCode == http.StatusUnauthorized; refused != p.on {
		return fmt.Errorf("%s answers %d without a key", p.label(), got.StatusCode)
	}
	return nil
}

func (p *peer) url(path string) string { return fmt.Sprintf("http://127.0.0.1:%d%s", p.Port, path) }

// tells returns the first line of what the peer says of its version.
func (p *peer) tells() (string, error) {
	out, err := exec.Command(p.version[0], p.version[1:]...).CombinedOutput()
	line, _, _ := strings.Cut(string(out), "\n")
	return line, err
}

// newKey has Semantic make an API key, with every limit and none in the way.
func newKey(binary, file string) (string, error) {
	out, err := exec.Command(binary, "keys", "create", "--key-file", file, "--name", "bench", "--tenant", "bench",
		"--requests-per-second", "1000000", "--burst", "1000000", "--tokens-per-minute", "1000000000000", "--max-concurrent", "16384").Output()
	if err != nil {
		return "", fmt.Errorf("%s keys create: %w", binary, err)
	}
	return strings.TrimSpace(string(out)), nil
}
