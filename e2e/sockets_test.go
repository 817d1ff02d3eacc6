package e2e

import (
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

func TestSocketOfALiveProcessIsLeftToIt(t *testing.T) {
	t.Parallel()
	p := newPod(t)
	sockets := filepath.Join(p.dir, "run")
	for process, extra := range map[string][]string{
		"engine":  {"--model", model},
		"proxy":   podPorts(t)[:2],
		"sidecar": podPorts(t)[2:4],
	} {
		t.Run(process, func(t *testing.T) {
			args := append([]string{process, "--data-dir", shortDir(t), "--socket-dir", sockets}, extra...)
			refused{args: args, status: failure, says: []string{p.socket(process), "live process", strconv.Itoa(p.childPID(process))}}.check(t)
		})
	}
	if r := p.health("ready"); r.status != 200 {
		t.Errorf("the pod whose sockets were wanted: %d %s", r.status, r.body)
	}
	p.mustGenerate(t, chat("Hi.", 2))
}

func TestSecondPodInTheSameFoldersIsRefused(t *testing.T) {
	t.Parallel()
	p := newPod(t)
	refused{
		args:   append([]string{"serve", "--data-dir", p.dir, "--model", model}, podPorts(t)...),
		status: failure, says: []string{"serve.log"},
	}.check(t)
	p.mustGenerate(t, chat("Hi.", 2))
}

func TestStaleSocketsMakeWay(t *testing.T) {
	t.Parallel()
	dir := shortDir(t)
	if err := os.Mkdir(filepath.Join(dir, "run"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, process := range []string{"engine", "proxy", "sidecar"} {
		l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(dir, "run", process+".sock")})
		if err != nil {
			t.Fatal(err)
		}
		l.SetUnlinkOnClose(false)
		l.Close()
	}
	p := newDoomedPod(t, settings{dir: dir})
	p.mustGenerate(t, chat("Hi.", 2))
	p.mustStop(t)
	for _, process := range []string{"engine", "proxy", "sidecar"} {
		if _, err := os.Stat(p.socket(process)); !os.IsNotExist(err) {
			t.Errorf("%s left its socket behind: %v", process, err)
		}
	}
}

func TestFileWhereASocketShouldBeIsAnErrorAndStays(t *testing.T) {
	t.Parallel()
	for _, process := range []string{"engine", "proxy", "sidecar"} {
		t.Run(process, func(t *testing.T) {
			t.Parallel()
			dir := shortDir(t)
			path := filepath.Join(dir, "run", process+".sock")
			if err := os.Mkdir(filepath.Dir(path), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
				t.Fatal(err)
			}
			refused{
				args:   append([]string{"serve", "--data-dir", dir, "--model", model}, podPorts(t)...),
				status: failure, says: []string{path, "no socket"},
			}.check(t)
			if b, err := os.ReadFile(path); err != nil || string(b) != "precious" {
				t.Errorf("the file holds %q, %v", b, err)
			}
		})
	}
}

func TestSocketPathThatIsTooLongSaysSo(t *testing.T) {
	t.Parallel()
	long := filepath.Join(shortDir(t), strings.Repeat("x", 110))
	refused{
		args:   append([]string{"serve", "--data-dir", shortDir(t), "--socket-dir", long, "--model", model}, podPorts(t)...),
		status: failure, says: []string{"--socket-dir", long},
	}.check(t)
}

func TestPortThatIsTakenIsNamed(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { taken.Close() })
	port := strconv.Itoa(taken.Addr().(*net.TCPAddr).Port)
	for flag, args := range map[string][]string{
		"--port=" + port:                     append(podPorts(t), "--port", port),
		"--sidecar-listen=127.0.0.1:" + port: append(podPorts(t), "--sidecar-listen", "127.0.0.1:"+port),
	} {
		t.Run(flag, func(t *testing.T) {
			t.Parallel()
			refused{
				args:   append([]string{"serve", "--data-dir", shortDir(t), "--model", model}, args...),
				status: failure, says: []string{flag, "address already in use"},
			}.check(t)
		})
	}
}
