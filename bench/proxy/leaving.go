package main

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"time"

	"github.com/semantic-pod/semantic/api"
	"github.com/semantic-pod/semantic/bench/measure"
)

// caseLeaving is how soon the backend learns that a client has left whose answer has not
// begun.
const (
	caseLeaving    = "leaving"
	departures     = 100 // a round
	leavingTimeout = 10 * time.Second
)

func (b *bench) leaving(round int) error {
	for _, name := range []string{"semantic", "nginx"} {
		took, err := b.leavingOf(name, round)
		if err != nil {
			return fmt.Errorf("clients that leave %s: %w", name, err)
		}
		b.add(caseLeaving, name, "p50_us", measure.Percentile(took, 50))
		b.add(caseLeaving, name, "p99_us", measure.Percentile(took, 99))
		b.add(caseLeaving, name, "most_us", measure.Percentile(took, 100))
	}
	return nil
}

// leavingOf says how long it took each time, in microseconds.
func (b *bench) leavingOf(name string, round int) (took []float64, err error) {
	e := &patient{begun: make(chan struct{}, 1), ended: make(chan time.Time, 1)}
	at := b.at
	at.Engine = filepath.Join(b.dir, fmt.Sprintf("patient-%s-%d.sock", name, round))
	if e.ln, err = net.Listen("unix", at.Engine); err != nil {
		return nil, err
	}
	defer e.ln.Close()
	go e.accept()
	p, err := b.another(name, fmt.Sprintf("%s leaving %d", name, round), at)
	if err != nil {
		return nil, err
	}
	defer p.process.stop()
	request := rawRequest(pathStream, b.key, `{"model":"bench","prompt":"tell","stream":true}`)
	for range departures {
		one, err := e.leave(fmt.Sprintf("127.0.0.1:%d", p.Port), request)
		if err != nil {
			return nil, err
		}
		took = append(took, float64(one.Nanoseconds())/1000)
	}
	return took, nil
}

// another starts one more of the peers, under a name of its own.
func (b *bench) another(name, label string, at place) (*peer, error) {
	for _, p := range allPeers(b.binaries) {
		if p.name != name || !p.on {
			continue
		}
		p.name = label
		if err := p.begin(b.dir, at); err != nil {
			if p.process != nil {
				p.process.stop()
			}
			return nil, err
		}
		return p, nil
	}
	return nil, fmt.Errorf("there is no peer %s", name)
}

// patient is a backend that never answers what a stream is asked of, and notes when its
// connection is closed.
type patient struct {
	ln    net.Listener
	begun chan struct{}
	ended chan time.Time
}

func (e *patient) accept() {
	for {
		c, err := e.ln.Accept()
		if err != nil {
			return
		}
		go e.serve(c)
	}
}

func (e *patient) serve(c net.Conn) {
	defer c.Close()
	buf, in := make([]byte, 16<<10), []byte(nil)
	for waits := false; ; {
		n, err := c.Read(buf)
		if waits && err != nil {
			e.ended <- time.Now()
		}
		if err != nil {
			return
		}
		in = append(in, buf[:n]...)
		head, _, rest, whole := cutMessage(in)
		if !whole {
			continue
		}
		out := answer(200)
		switch _, path, _ := strings.Cut(string(head[:bytes.IndexByte(head, '\n')]), " "); {
		case strings.HasPrefix(path, api.PathState):
			out = stateAnswer()
		case strings.HasPrefix(path, pathStream):
			waits, out = true, nil
			e.begun <- struct{}{}
		}
		in = rest
		if _, err := c.Write(out); err != nil {
			return
		}
	}
}

// leave asks, leaves when the backend has the request, and says how long that took to
// get there.
func (e *patient) leave(address string, request []byte) (time.Duration, error) {
	c, err := net.Dial("tcp", address)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	if _, err := c.Write(request); err != nil {
		return 0, err
	}
	late := time.After(leavingTimeout)
	select {
	case <-e.begun:
	case <-late:
		return 0, errors.New("the request does not come")
	}
	left := time.Now()
	if err := c.Close(); err != nil {
		return 0, err
	}
	select {
	case seen := <-e.ended:
		return seen.Sub(left), nil
	case <-late:
		return 0, fmt.Errorf("the backend was not told in %s", leavingTimeout)
	}
}
