package supervise

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"time"

	"go.uber.org/zap"
)

// ExitError is a child that left and is not started again.
type ExitError struct {
	Name   string
	Status int // exit status, -1 when a signal ended it
	Reason string
}

func (e *ExitError) Error() string { return e.Name + " " + e.Reason }

// child is one process that is started again and again until stop closes.
type child struct {
	Spec
	log     *zap.Logger
	fatal   chan<- error
	stop    chan struct{} // closed: SIGTERM, then SIGKILL after StopTimeout
	kill    chan struct{} // closed: SIGKILL
	done    chan struct{} // closed when the child is gone for good
	overran bool          // had to be killed; read after done

	launched chan struct{} // closed when it was started for the first time, or could not be
	launch   func()

	everUp   bool
	restarts int
}

func newChild(spec Spec, log *zap.Logger, fatal chan<- error) *child {
	launched := make(chan struct{})
	return &child{
		Spec: spec, log: log.With(zap.String("child", spec.Name)), fatal: fatal,
		stop: make(chan struct{}), kill: make(chan struct{}), done: make(chan struct{}),
		launched: launched, launch: sync.OnceFunc(func() { close(launched) }),
	}
}

// run keeps the child running. It holds on to its thread, since the kernel sends
// the parent-death signal when the thread that started the child ends.
func (c *child) run() {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer close(c.done)
	defer c.launch()
	backoff := firstBackoff
	for {
		began := time.Now()
		left := c.once()
		if c.stopping() {
			c.log.Info("child stopped", zap.String("reason", left.Reason), zap.Int("status", left.Status))
			return
		}
		if left.Status == StatusUsage || !c.everUp {
			c.fatal <- left
			return
		}
		if time.Since(began) >= goodRun {
			backoff = firstBackoff
		}
		c.restarts++
		c.log.Error("child died", zap.String("reason", left.Reason),
			zap.Duration("restart_in", backoff), zap.Int("restarts", c.restarts))
		select {
		case <-time.After(backoff):
		case <-c.stop:
			return
		}
		backoff = min(2*backoff, maxBackoff)
	}
}

func (c *child) stopping() bool {
	select {
	case <-c.stop:
		return true
	default:
		return false
	}
}

// once starts the process and returns when it has left.
func (c *child) once() *ExitError {
	ready, notify, err := os.Pipe()
	if err != nil {
		return c.failed(fmt.Errorf("cannot make a pipe for it: %w", err))
	}
	defer ready.Close()
	cmd := exec.Command(c.Args[0], c.Args[1:]...)
	cmd.Env = append(c.Env[:len(c.Env):len(c.Env)], readyEnv+"=3", restartsEnv+"="+strconv.Itoa(c.restarts))
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.ExtraFiles = []*os.File{notify}
	// A process group of its own: Ctrl-C in a terminal reaches only us, so that
	// the children stop in order. They still end if we are killed.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	err = cmd.Start()
	notify.Close()
	if err != nil {
		return c.failed(err)
	}
	c.log.Info("child started", zap.Int("pid", cmd.Process.Pid))
	c.launch()
	up, left := make(chan readiness, 1), make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() { up <- awaitReady(ready, c.StartTimeout) })
	wg.Go(func() { c.signal(cmd.Process, up, left) })
	err = cmd.Wait()
	close(left)
	_ = ready.SetReadDeadline(time.Now())
	wg.Wait()
	return c.exited(cmd.ProcessState, err)
}

func (c *child) failed(err error) *ExitError {
	return &ExitError{Name: c.Name, Status: 1, Reason: "cannot be started: " + err.Error()}
}

func (c *child) exited(state *os.ProcessState, err error) *ExitError {
	e := &ExitError{Name: c.Name, Status: state.ExitCode(), Reason: "left with " + state.String()}
	if state.ExitCode() < 0 && err != nil {
		e.Reason = "was ended by " + err.Error()
	}
	return e
}

// signal waits for what may befall a running process, until it has left.
func (c *child) signal(p *os.Process, up <-chan readiness, left <-chan struct{}) {
	stop, overdue := c.stop, (<-chan time.Time)(nil)
	for {
		select {
		case <-left:
			return
		case state := <-up:
			up = nil
			switch state {
			case isUp:
				c.everUp = true
				c.log.Info("child is up", zap.Int("pid", p.Pid))
			case isLate:
				c.log.Error("child did not come up in time: killing it", zap.Duration("start_timeout", c.StartTimeout))
				_ = p.Kill()
			case isGone: // its status says why
			}
		case <-stop:
			stop = nil
			_ = p.Signal(syscall.SIGTERM)
			timer := time.NewTimer(c.StopTimeout)
			defer timer.Stop()
			overdue = timer.C
		case <-overdue:
			c.overran = true
			_ = p.Kill()
		case <-c.kill:
			_ = p.Kill()
			<-left
			return
		}
	}
}
