package main

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/semantic-pod/semantic/bench/measure"
)

// ticks is the kernel's USER_HZ, which is 100 on every Linux of ours.
const ticks = 100

// leastNice is by what the thread that archives is known.
const leastNice = 19

// process is a command of the binary.
type process struct {
	cmd  *exec.Cmd
	said bytes.Buffer
}

func begin(binary string, args ...string) (*process, error) {
	p := &process{cmd: exec.Command(binary, args...)}
	p.cmd.Stdout, p.cmd.Stderr = &p.said, &p.said
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	return p, p.cmd.Start()
}

func (p *process) end() error {
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	if err := p.cmd.Wait(); err != nil {
		return fmt.Errorf("%w\n%s", err, &p.said)
	}
	return nil
}

// cpu is the CPU time that a process has used: its archiving thread's, and all other.
type cpu struct{ archive, rest time.Duration }

func cpuOf(pid int) (c cpu, err error) {
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	if err != nil {
		return c, err
	}
	for _, t := range threads {
		used, nice, err := readStat(t)
		if err != nil {
			continue // it ended
		}
		if nice == leastNice {
			c.archive += used
		}
	}
	all, _, err := readStat(fmt.Sprintf("/proc/%d/stat", pid)) // with threads that have ended
	c.rest = all - c.archive
	return c, err
}

func readStat(path string) (used time.Duration, nice int, err error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, 0, err
	}
	_, tail, ok := strings.Cut(string(text), ") ")
	f := strings.Fields(tail)
	if !ok || len(f) < 17 {
		return 0, 0, errors.New("no stat of a process")
	}
	user, _ := strconv.Atoi(f[11])
	system, _ := strconv.Atoi(f[12])
	nice, _ = strconv.Atoi(f[16])
	return time.Duration(user+system) * time.Second / ticks, nice, nil
}

// memory reads a line such as VmRSS, in MiB.
func memory(pid int, what string) (float64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, what+":"); ok {
			kib, err := strconv.ParseFloat(strings.Fields(rest)[0], 64)
			return kib / 1024, err
		}
	}
	return 0, fmt.Errorf("no %s of process %d", what, pid)
}

// awaitReady returns when the address answers /health/ready with 200.
func awaitReady(p *process, url string) error {
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		resp, err := http.Get(url + "/health/ready")
		if err != nil {
			continue
		}
		resp.Body.Close()
		if resp.StatusCode == http.StatusOK {
			return nil
		}
	}
	return fmt.Errorf("%s is not ready within a minute\n%s", url, &p.said)
}

// sidecarAlone starts a sidecar of its own for the folder's logs.
func sidecarAlone(p plan, dir string, args ...string) (*process, error) {
	ports, err := measure.FreePorts(1)
	if err != nil {
		return nil, err
	}
	address := "127.0.0.1:" + strconv.Itoa(ports[0])
	s, err := begin(p.binary, append([]string{"sidecar", "--data-dir", dir, "--log-dir", filepath.Join(dir, "logs"), "--sidecar-listen", address}, args...)...)
	if err != nil {
		return nil, err
	}
	return s, awaitReady(s, "http://"+address)
}
