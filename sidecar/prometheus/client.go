// Package prometheus is what is needed of Prometheus's HTTP API to have rules loaded
// and to prove that they are.
//
// Read: client (the calls), readback (what is loaded against what should be), alerts.
package prometheus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

const (
	callTimeout  = 5 * time.Second
	maxAnswer    = 32 << 20 // all rules of a large installation
	maxCanonical = 4096     // expressions that are remembered
)

// Client calls one Prometheus. It may be used by several goroutines.
type Client struct {
	base string
	http *http.Client

	mu        sync.Mutex
	canonical map[string]string // by expression as it was sent
}

// New returns a client of the server at that address, such as http://localhost:9090.
func New(base string) *Client {
	return &Client{base: strings.TrimRight(base, "/"), http: &http.Client{Timeout: callTimeout}, canonical: map[string]string{}}
}

// Close lets idle connections go.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// ErrRefused says that Prometheus answered, and that the answer was no.
var ErrRefused = errors.New("it refuses")

// Reload has Prometheus read its configuration and rules again.
func (c *Client) Reload(ctx context.Context) error {
	body, status, err := c.call(ctx, http.MethodPost, "/-/reload", nil)
	switch {
	case err != nil:
		return fmt.Errorf("cannot have Prometheus reload: %w", err)
	case status == http.StatusForbidden || status == http.StatusNotFound || status == http.StatusMethodNotAllowed:
		return fmt.Errorf("cannot have Prometheus reload: %w: start it with --web.enable-lifecycle (it answered %d: %s)", ErrRefused, status, firstLine(body))
	case status != http.StatusOK:
		return fmt.Errorf("cannot have Prometheus reload: %w: %s (status %d)", ErrRefused, firstLine(body), status)
	}
	return nil
}

// envelope is the form of every answer of the API.
type envelope struct {
	Status string          `json:"status"`
	Error  string          `json:"error"`
	Data   json.RawMessage `json:"data"`
}

// get asks the API and reads its answer into data.
func (c *Client) get(ctx context.Context, path string, query url.Values, data any) error {
	body, status, err := c.call(ctx, http.MethodGet, path, query)
	if err != nil {
		return err
	}
	var e envelope
	if err := json.Unmarshal(body, &e); err != nil {
		return fmt.Errorf("%s answered %d and no JSON: %s", path, status, firstLine(body))
	}
	if e.Status != "success" {
		return fmt.Errorf("%w: %s", ErrRefused, e.Error)
	}
	if err := json.Unmarshal(e.Data, data); err != nil {
		return fmt.Errorf("%s answered what cannot be read: %w", path, err)
	}
	return nil
}

func (c *Client) call(ctx context.Context, method, path string, query url.Values) (body []byte, status int, err error) {
	target := c.base + path
	if len(query) > 0 {
		target += "?" + query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, method, target, nil)
	if err != nil {
		return nil, 0, err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, 0, err
	}
	defer resp.Body.Close()
	body, err = io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	return body, resp.StatusCode, err
}

// Canonical returns an expression as Prometheus's own parser writes it, so that two
// spellings of one can be compared. What cannot be parsed is refused in its words.
func (c *Client) Canonical(ctx context.Context, expr string) (string, error) {
	c.mu.Lock()
	known, ok := c.canonical[expr]
	c.mu.Unlock()
	if ok {
		return known, nil
	}
	var text string
	if err := c.get(ctx, "/api/v1/format_query", url.Values{"query": {expr}}, &text); err != nil {
		return "", fmt.Errorf("cannot have Prometheus parse an expression: %w", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.canonical) >= maxCanonical {
		clear(c.canonical)
	}
	c.canonical[expr] = text
	return text, nil
}

func firstLine(body []byte) string {
	line, _, _ := strings.Cut(strings.TrimSpace(string(body)), "\n")
	if len(line) > 500 {
		line = line[:500] + "…"
	}
	return line
}

// AlertStates returns what Prometheus says of each alerting rule by name: firing, pending or
// inactive; of several of one name the worst.
func (c *Client) AlertStates(ctx context.Context) (map[string]string, error) {
	var data struct {
		Groups []struct {
			Rules []struct{ Name, State string }
		}
	}
	if err := c.get(ctx, "/api/v1/rules", url.Values{"type": {"alert"}}, &data); err != nil {
		return nil, fmt.Errorf("cannot list the rules of Prometheus: %w", err)
	}
	states, worse := map[string]string{}, map[string]int{"": 0, "inactive": 1, "pending": 2, "firing": 3}
	for _, g := range data.Groups {
		for _, r := range g.Rules {
			if worse[r.State] > worse[states[r.Name]] {
				states[r.Name] = r.State
			}
		}
	}
	return states, nil
}
