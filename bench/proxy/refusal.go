package main

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/semantic-pod/semantic/bench/measure"
)

// caseRefusals is how quickly a full server says so, while its full load runs.
const (
	caseRefusals   = "refusals"
	fullServer     = 1000 // streams, as many as --max-in-flight
	refusalPause   = time.Millisecond
	refusalTimeout = 10 * time.Second
)

func (b *bench) refused(round int) error {
	p, err := b.fresh(fmt.Sprintf("semantic full %d", round), b.at, "--max-in-flight", fmt.Sprint(fullServer))
	if err != nil {
		return err
	}
	defer p.process.stop()
	done := make(chan struct{})
	stop := sync.OnceFunc(func() { close(done) })
	var asking sync.WaitGroup
	var took []float64
	var failed error
	begun := false
	interval := fullServer * 100 * time.Microsecond // 10,000 events a second in all
	_, err = watched{network: "tcp", address: fmt.Sprintf("127.0.0.1:%d", p.Port), key: b.key, streams: fullServer, interval: interval,
		warm: interval, duration: max(b.duration, 2*interval), during: func() {
			if begun {
				stop()
				return
			}
			begun = true
			asking.Go(func() { took, failed = refusals(p, b.key, done) })
		}}.run()
	stop() // also where the streams failed
	asking.Wait()
	if err == nil {
		err = failed
	}
	if err != nil {
		return fmt.Errorf("refusals: %w", err)
	}
	b.add("refusals-1000", "semantic", "p50_us", measure.Percentile(took, 50))
	b.add("refusals-1000", "semantic", "p99_us", measure.Percentile(took, 99))
	return nil
}

// refusals asks until done is closed, and says how long each 503 took, in microseconds.
func refusals(p *peer, key string, done <-chan struct{}) (took []float64, err error) {
	c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", p.Port))
	if err != nil {
		return nil, err
	}
	defer c.Close()
	request, in := rawRequest(pathSmall, key, smallBody), make([]byte, 8192)
	for {
		select {
		case <-done:
			if len(took) == 0 {
				err = io.ErrUnexpectedEOF
			}
			return took, err
		case <-time.After(refusalPause):
		}
		began := time.Now()
		_ = c.SetDeadline(began.Add(refusalTimeout))
		if _, err := c.Write(request); err != nil {
			return took, err
		}
		n, err := c.Read(in)
		if err != nil || !bytes.HasPrefix(in[:n], []byte("HTTP/1.1 503")) {
			return took, fmt.Errorf("a full server answers %q: %w", in[:n], err)
		}
		took = append(took, float64(time.Since(began).Nanoseconds())/1000)
	}
}
