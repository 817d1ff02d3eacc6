// Package load drives pods the way their users do while they are restarted and killed:
// clients that use OpenAI's SDK with its retries off, behind a balancer that follows
// readiness. It judges what each client saw by what the pods' logs say. What a pod is, a
// child of `semantic serve` or containers, its tests say.
//
// Read: fleet (the drills), load (the clients), balancer, ends (what the logs say), judge.
package load

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Outcome is what a client saw of one request.
type Outcome struct {
	ID     string
	Way    string  // parsed or raw stream, whole answer, listing
	From   float64 // seconds since 1970
	To     float64
	Begun  bool // a stream's header came
	Done   bool // the terminal event, or the whole answer
	Code   string
	Status int
	Fault  string
}

// Streams reports whether the answer was to be a stream.
func (o Outcome) Streams() bool { return o.Way == "parsed" || o.Way == "raw" }

// Clients are the SDK's users, in a process of their own.
type Clients struct {
	cmd    *exec.Cmd
	stdin  io.Closer
	stderr strings.Builder
	read   sync.WaitGroup

	mu       sync.Mutex
	outcomes []Outcome
	broken   error
}

// Start has clients ask at these addresses until Stop.
func Start(python, script, model string, urls ...string) (*Clients, error) {
	c := &Clients{cmd: exec.Command(python, append([]string{script, model}, urls...)...)}
	c.cmd.Env = append(os.Environ(), "OPENAI_API_KEY=unused")
	c.cmd.Stderr = &c.stderr
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	stdin, err := c.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	c.stdin = stdin
	if err := c.cmd.Start(); err != nil {
		return nil, err
	}
	c.read.Go(func() { c.listen(stdout) })
	return c, nil
}

func (c *Clients) listen(from io.Reader) {
	lines := bufio.NewScanner(from)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var o Outcome
		err := json.Unmarshal(lines.Bytes(), &o)
		c.mu.Lock()
		c.outcomes = append(c.outcomes, o)
		c.broken = errors.Join(c.broken, err)
		c.mu.Unlock()
	}
}

// Count is how many requests have ended until now.
func (c *Clients) Count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.outcomes)
}

// Stop lets each client end its request and returns what all saw. A request that does
// not end within the time hangs: that is an error.
func (c *Clients) Stop(within time.Duration) ([]Outcome, error) {
	_ = c.stdin.Close()
	kill := time.AfterFunc(within, func() { _ = c.cmd.Process.Kill() })
	c.read.Wait()
	err := c.cmd.Wait()
	if !kill.Stop() {
		err = fmt.Errorf("a request still hangs %s after the last was sent: %w", within, err)
	}
	if err != nil || c.stderr.Len() > 0 {
		err = fmt.Errorf("the clients: %w\n%s", errors.Join(err, c.broken), c.stderr.String())
	}
	return c.outcomes, err
}
