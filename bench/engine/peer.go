package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
)

// peer is llama.cpp in a process of its own, which answers line by line.
type peer struct {
	cmd    *exec.Cmd
	in     io.WriteCloser
	out    *bufio.Reader
	CPU    string `json:"cpu"`
	Vendor string `json:"version"`
}

func startPeer(p plan, model string) (*peer, error) {
	if p.libs == "" {
		return nil, fmt.Errorf("set -libs to the folder of llama.cpp's libraries")
	}
	x := &peer{cmd: exec.Command(p.python, p.script, "--libs", p.libs, "--model", model, "--threads", strconv.Itoa(p.threads))}
	x.cmd.Stderr = os.Stderr
	var err error
	if x.in, err = x.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := x.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	x.out = bufio.NewReader(out)
	if err := x.cmd.Start(); err != nil {
		return nil, fmt.Errorf("cannot start -python=%s: %w", p.python, err)
	}
	return x, x.read(x)
}

func (x *peer) read(v any) error {
	line, err := x.out.ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("llama.cpp's process ended: %w", err)
	}
	return json.Unmarshal(line, v)
}

func (x *peer) seconds(a ask) (float64, error) {
	b, err := json.Marshal(a)
	if err != nil {
		return 0, err
	}
	if _, err := x.in.Write(append(b, '\n')); err != nil {
		return 0, err
	}
	var answer struct{ Seconds float64 }
	return answer.Seconds, x.read(&answer)
}

func (x *peer) close() error {
	_ = x.in.Close()
	return x.cmd.Wait()
}
