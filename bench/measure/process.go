package measure

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// patience is for a start and for a stop.
const patience = time.Minute

// Process is a command that is measured, with a folder of its own.
type Process struct {
	Cmd    *exec.Cmd
	Dir    string
	Took   time.Duration // from its start to ready
	stderr bytes.Buffer
	left   chan error
}

// Start returns when ready says so, which is asked every so often. In a control group's
// folder, unless that is "", the command is started in it. It leads a group of processes
// and dies with us; a command that is not ready in a minute is killed, and its folder
// removed.
func Start(dir, cgroup string, every time.Duration, ready func() bool, args ...string) (*Process, error) {
	if cgroup != "" {
		args = append([]string{"/bin/sh", "-c", `echo $$ > "$0" && exec "$@"`, filepath.Join(cgroup, "cgroup.procs")}, args...)
	}
	p := &Process{Cmd: exec.Command(args[0], args[1:]...), Dir: dir, left: make(chan error, 1)}
	p.Cmd.Stderr = &p.stderr
	p.Cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM, Setpgid: true}
	began := time.Now()
	if err := p.Cmd.Start(); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	go func() { p.left <- p.Cmd.Wait() }()
	for time.Since(began) < patience {
		if ready() {
			p.Took = time.Since(began)
			return p, nil
		}
		select {
		case err := <-p.left:
			p.left <- err
			p.Kill()
			return nil, fmt.Errorf("%s ended: %w\n%s", args[0], err, p.stderr.String())
		case <-time.After(every):
		}
	}
	p.Kill()
	return nil, fmt.Errorf("%s is not ready after %s\n%s", args[0], patience, p.stderr.String())
}

// Stop ends the command with SIGTERM, and removes its folder.
func (p *Process) Stop() error {
	_ = p.Cmd.Process.Signal(syscall.SIGTERM)
	select {
	case err := <-p.left:
		p.left <- err
		return errors.Join(err, os.RemoveAll(p.Dir))
	case <-time.After(patience):
		return fmt.Errorf("%s did not stop within %s", p.Cmd.Args[0], patience)
	}
}

// Kill ends what Stop has not ended, with its children.
func (p *Process) Kill() {
	_ = syscall.Kill(-p.Cmd.Process.Pid, syscall.SIGKILL)
	p.left <- <-p.left
	_ = os.RemoveAll(p.Dir)
}

// FreePorts returns so many ports of the loopback that nobody listens on.
func FreePorts(n int) ([]int, error) {
	ports := make([]int, n)
	for i := range ports {
		l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close() // all are held until each is found
		ports[i] = l.Addr().(*net.TCPAddr).Port
	}
	return ports, nil
}
