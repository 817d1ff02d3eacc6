package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// process is one that the benchmark started, with its children.
type process struct {
	cmd  *exec.Cmd
	left chan struct{} // closed when it has ended
	why  error         // then
	said bytes.Buffer
}

// start runs a command whose standard output goes to a file of dir.
func start(dir string, command ...string) (*process, error) {
	out, err := os.Create(filepath.Join(dir, "stdout.log"))
	if err != nil {
		return nil, err
	}
	defer out.Close()
	p := &process{cmd: exec.Command(command[0], command[1:]...), left: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = out, &p.said
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	p.cmd.Env = append(os.Environ(), "HOME="+dir, "XDG_DATA_HOME="+dir, "XDG_CONFIG_HOME="+dir)
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("cannot start %s (of the Debian packages nginx, haproxy and wrk?): %w", command[0], err)
	}
	go func() { p.why = p.cmd.Wait(); close(p.left) }()
	return p, nil
}

// stop ends the process, by force if it must.
func (p *process) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.left:
	case <-time.After(10 * time.Second):
		_ = p.cmd.Process.Kill()
		<-p.left
	}
}

// died says what the process said before it ended, if it has.
func (p *process) died() error {
	select {
	case <-p.left:
		return fmt.Errorf("%s ended: %w\n%s", p.cmd.Path, p.why, p.said.String())
	default:
		return nil
	}
}

// family is the process and its children, such as nginx's workers.
func (p *process) family() []int {
	all := []int{p.cmd.Process.Pid}
	for i := 0; i < len(all); i++ {
		tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", all[i]))
		for _, path := range tasks {
			b, _ := os.ReadFile(path)
			for _, word := range strings.Fields(string(b)) {
				if pid, err := strconv.Atoi(word); err == nil {
					all = append(all, pid)
				}
			}
		}
	}
	return all
}

// ticksPerSecond is the unit of /proc's times: USER_HZ, which is the same everywhere.
const ticksPerSecond = 100

// cpu is the processor time that the family has used, in user and kernel.
func (p *process) cpu() (time.Duration, error) {
	ticks := 0
	for _, pid := range p.family() {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			return 0, err
		}
		// The name, in brackets, may hold anything; after it come state and numbers.
		words := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
		for _, word := range words[11:13] {
			n, err := strconv.Atoi(word)
			if err != nil {
				return 0, fmt.Errorf("/proc/%d/stat: %w", pid, err)
			}
			ticks += n
		}
	}
	return time.Duration(ticks) * time.Second / ticksPerSecond, nil
}

// rss is the family's resident memory in MiB.
func (p *process) rss() float64 {
	pages := 0
	for _, pid := range p.family() {
		b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
		if words := strings.Fields(string(b)); len(words) > 1 {
			n, _ := strconv.Atoi(words[1])
			pages += n
		}
	}
	return float64(pages) * float64(os.Getpagesize()) / (1 << 20)
}
