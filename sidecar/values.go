package sidecar

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/semantic-pod/semantic/api"
)

const (
	valuesTimeout = 2 * time.Second
	maxValues     = 200
	maxExposition = 16 << 20
)

// liveValues returns the pod's series of those names, as an exposition writes them,
// from all three processes. Buckets are left out: nobody reads them.
func (s *Sidecar) liveValues(ctx context.Context, names []string) (lines []string, err error) {
	ctx, cancel := context.WithTimeout(ctx, valuesTimeout)
	defer cancel()
	var own bytes.Buffer
	_, err = s.metrics.WriteTo(&own)
	errs := []error{err}
	texts := [][]byte{own.Bytes()}
	for _, p := range []struct{ name, socket string }{{"proxy", s.cfg.ProxySocket}, {"engine", s.cfg.EngineSocket}} {
		if p.socket == "" {
			continue
		}
		text, err := fetchMetrics(ctx, p.socket)
		if err != nil {
			errs = append(errs, fmt.Errorf("the %s does not tell its metrics: %w", p.name, err))
		}
		texts = append(texts, text)
	}
	wanted := map[string]bool{}
	for _, n := range names {
		wanted[strings.TrimSuffix(n, "_bucket")+"_sum"] = true
		wanted[strings.TrimSuffix(n, "_bucket")+"_count"] = true
		wanted[n] = !strings.HasSuffix(n, "_bucket")
	}
	for _, text := range texts {
		for scan := bufio.NewScanner(bytes.NewReader(text)); scan.Scan() && len(lines) < maxValues; {
			name, _, _ := strings.Cut(strings.ReplaceAll(scan.Text(), "{", " "), " ")
			if wanted[name] {
				lines = append(lines, scan.Text())
			}
		}
	}
	return lines, errors.Join(errs...)
}

// fetchMetrics asks a process of the pod on its socket.
func fetchMetrics(ctx context.Context, socket string) ([]byte, error) {
	client := http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		},
	}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://pod"+api.PathMetrics, nil)
	if err != nil {
		return nil, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("it answered %s", resp.Status)
	}
	return io.ReadAll(io.LimitReader(resp.Body, maxExposition))
}
