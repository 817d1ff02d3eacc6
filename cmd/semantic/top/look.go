package top

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

	"github.com/semantic-pod/semantic/telemetry"
)

const (
	lookTimeout = 2 * time.Second
	maxAnswer   = 16 << 20
	// agentsEach is how many looks go by between two at the agents: those are requests,
	// and count as such.
	agentsEach = 5
)

// look is what one look at the pod saw.
type look struct {
	at     time.Time
	err    error // the proxy did not answer; then there is nothing else
	ready  readiness
	series map[string][]telemetry.Sample // by the metric's name

	agents    []agent
	agentsErr error
	alerts    []alert
	alertsErr error
}

// readiness is the body of /health/ready.
type readiness struct {
	Status string
	Reason string
}

// agent is one of GET /v1/agents.
type agent struct {
	ID       string `json:"id"`
	Tier     string `json:"tier"`
	Tokens   int    `json:"tokens"`
	Bytes    int64  `json:"bytes"`
	LastUsed int64  `json:"last_used"`
}

// alert is one of the sidecar's GET /alerts.
type alert struct {
	Name     string    `json:"name"`
	State    string    `json:"state"`
	Severity string    `json:"severity"`
	Summary  string    `json:"summary"`
	Since    time.Time `json:"since"`
}

// looker looks at the pod. It is used by one goroutine at a time.
type looker struct {
	cfg    Config
	client *http.Client
	looks  int
	agents []agent // as they were seen last
	err    error   // why they were not
}

// look asks all that there is to ask at once.
func (l *looker) look(ctx context.Context) *look {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	one := &look{}
	var all sync.WaitGroup
	all.Go(func() { one.err = l.scrape(ctx, one) })
	all.Go(func() {
		// 503 is an answer, too; whether there is one at all, the scrape says.
		if _, body, err := l.get(ctx, l.cfg.URL+"/health/ready", ""); err == nil {
			_ = json.Unmarshal(body, &one.ready)
		}
	})
	if l.looks%agentsEach == 0 {
		all.Go(func() { l.agents, l.err = l.listAgents(ctx) })
	}
	if l.cfg.Sidecar != "" {
		all.Go(func() { one.alerts, one.alertsErr = l.listAlerts(ctx) })
	}
	all.Wait()
	if one.err == nil {
		l.looks++
	} else {
		l.looks = 0
	}
	one.agents, one.agentsErr, one.at = l.agents, l.err, time.Now()
	return one
}

func (l *looker) scrape(ctx context.Context, one *look) error {
	status, body, err := l.get(ctx, l.cfg.URL+"/metrics", "")
	if err != nil {
		return err
	}
	if status != http.StatusOK {
		return fmt.Errorf("%s/metrics answered %d; with --metrics-listen, say that address as --url", l.cfg.URL, status)
	}
	samples, err := telemetry.ReadSamples(body)
	if err != nil {
		return err
	}
	one.series = make(map[string][]telemetry.Sample, len(samples))
	for _, s := range samples {
		one.series[s.Name] = append(one.series[s.Name], s)
	}
	return nil
}

func (l *looker) listAgents(ctx context.Context) ([]agent, error) {
	status, body, err := l.get(ctx, l.cfg.URL+"/v1/agents", l.cfg.Key)
	if err != nil {
		return nil, err
	}
	switch status {
	case http.StatusOK:
	case http.StatusUnauthorized, http.StatusForbidden:
		return nil, errors.New("say --key, to see the agents of its tenant")
	case http.StatusNotImplemented:
		return nil, errors.New("the engine's backend has none")
	default:
		return nil, fmt.Errorf("/v1/agents answered %d", status)
	}
	var answer struct{ Data []agent }
	if err := json.Unmarshal(body, &answer); err != nil {
		return nil, fmt.Errorf("cannot read /v1/agents: %w", err)
	}
	return answer.Data, nil
}

func (l *looker) listAlerts(ctx context.Context) ([]alert, error) {
	status, body, err := l.get(ctx, l.cfg.Sidecar+"/alerts", "")
	if err != nil {
		return nil, fmt.Errorf("the sidecar does not answer: %w", err)
	}
	var answer struct {
		Alerts []alert
		Error  string
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return nil, fmt.Errorf("the sidecar answered %d", status)
	}
	if answer.Error != "" {
		return nil, errors.New(answer.Error)
	}
	return answer.Alerts, nil
}

// get asks for an address. The error does not repeat it: the screen has it.
func (l *looker) get(ctx context.Context, address, key string) (status int, body []byte, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimRight(address, "/"), nil)
	if err != nil {
		return 0, nil, err
	}
	if key != "" {
		r.Header.Set("Authorization", "Bearer "+key)
	}
	answer, err := l.client.Do(r)
	if err != nil {
		var outer *url.Error
		if errors.As(err, &outer) {
			err = outer.Err
		}
		return 0, nil, err
	}
	defer answer.Body.Close()
	body, err = io.ReadAll(io.LimitReader(answer.Body, maxAnswer))
	return answer.StatusCode, body, err
}
