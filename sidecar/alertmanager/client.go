// Package alertmanager is what is needed of Alertmanager's API v2 to keep a planned
// stop from alerting.
package alertmanager

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

const (
	callTimeout = 5 * time.Second
	maxAnswer   = 8 << 20
)

// Client calls one Alertmanager; those of a cluster tell each other.
type Client struct {
	base string
	http *http.Client
}

// New returns a client of the server at that address, such as http://localhost:9093.
func New(base string) *Client {
	return &Client{base: strings.TrimRight(base, "/"), http: &http.Client{Timeout: callTimeout}}
}

// Close lets idle connections go.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Matcher is a condition on a label.
type Matcher struct {
	Name    string `json:"name"`
	Value   string `json:"value"`
	IsRegex bool   `json:"isRegex"`
	IsEqual bool   `json:"isEqual"`
}

// Silence keeps the alerts that meet all matchers from being sent, between its times.
type Silence struct {
	ID        string    `json:"id,omitempty"`
	Matchers  []Matcher `json:"matchers"`
	StartsAt  time.Time `json:"startsAt"`
	EndsAt    time.Time `json:"endsAt"`
	CreatedBy string    `json:"createdBy"`
	Comment   string    `json:"comment"`
	Status    *struct {
		State string `json:"state"` // active, pending or expired
	} `json:"status,omitempty"`
}

// Set makes a silence, or changes the one that its ID names, and returns its ID.
func (c *Client) Set(ctx context.Context, s Silence) (id string, err error) {
	s.Status = nil
	var answer struct {
		ID string `json:"silenceID"`
	}
	if err := c.call(ctx, http.MethodPost, "/api/v2/silences", s, &answer); err != nil {
		return "", fmt.Errorf("cannot set a silence in Alertmanager: %w", err)
	}
	return answer.ID, nil
}

// Lift ends a silence now.
func (c *Client) Lift(ctx context.Context, id string) error {
	if err := c.call(ctx, http.MethodDelete, "/api/v2/silence/"+url.PathEscape(id), nil, nil); err != nil {
		return fmt.Errorf("cannot lift a silence in Alertmanager: %w", err)
	}
	return nil
}

// Active lists the silences in force that somebody of that name made with these
// matchers.
func (c *Client) Active(ctx context.Context, createdBy string, matchers []Matcher) ([]Silence, error) {
	var all []Silence
	if err := c.call(ctx, http.MethodGet, "/api/v2/silences", nil, &all); err != nil {
		return nil, fmt.Errorf("cannot list the silences of Alertmanager: %w", err)
	}
	return slices.DeleteFunc(all, func(s Silence) bool {
		return s.CreatedBy != createdBy || s.Status == nil || s.Status.State == "expired" || !sameMatchers(s.Matchers, matchers)
	}), nil
}

func sameMatchers(a, b []Matcher) bool {
	byName := func(x, y Matcher) int { return strings.Compare(x.Name, y.Name) }
	a, b = slices.Clone(a), slices.Clone(b)
	slices.SortFunc(a, byName)
	slices.SortFunc(b, byName)
	return slices.Equal(a, b)
}

func (c *Client) call(ctx context.Context, method, path string, body, answer any) error {
	text, err := json.Marshal(body)
	if err != nil {
		return err
	}
	if body == nil {
		text = nil
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, bytes.NewReader(text))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := c.http.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	switch {
	case err != nil:
		return err
	case resp.StatusCode != http.StatusOK:
		return fmt.Errorf("it answered %d: %.300s", resp.StatusCode, bytes.TrimSpace(got))
	case answer == nil:
		return nil
	}
	if err := json.Unmarshal(got, answer); err != nil {
		return fmt.Errorf("it answered what cannot be read: %w", err)
	}
	return nil
}

// Alerts returns the names of the alerts that Alertmanager has, and whether all of a name are
// silenced.
func (c *Client) Alerts(ctx context.Context) (silenced map[string]bool, err error) {
	var all []struct {
		Labels map[string]string `json:"labels"`
		Status struct {
			SilencedBy []string `json:"silencedBy"`
		} `json:"status"`
	}
	if err := c.call(ctx, http.MethodGet, "/api/v2/alerts", nil, &all); err != nil {
		return nil, fmt.Errorf("cannot list the alerts of Alertmanager: %w", err)
	}
	silenced = map[string]bool{}
	for _, a := range all {
		name := a.Labels["alertname"]
		before, has := silenced[name]
		silenced[name] = len(a.Status.SilencedBy) > 0 && (before || !has)
	}
	return silenced, nil
}
