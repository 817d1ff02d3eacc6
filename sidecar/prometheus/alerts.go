package prometheus

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Alert is one that is pending or firing.
type Alert struct {
	Name     string            `json:"name"`
	State    string            `json:"state"` // pending or firing
	Severity string            `json:"severity"`
	Summary  string            `json:"summary"`
	Since    time.Time         `json:"since"` // when it began to be pending
	Labels   map[string]string `json:"labels"`
}

// severities from the worst on.
var severities = []string{"critical", "warning", "info"}

// Alerts lists what is pending or firing now: firing first, the worse before, the
// older before.
func (c *Client) Alerts(ctx context.Context) ([]Alert, error) {
	var data struct {
		Alerts []struct {
			Labels, Annotations map[string]string
			State               string
			ActiveAt            time.Time `json:"activeAt"`
		}
	}
	if err := c.get(ctx, "/api/v1/alerts", nil, &data); err != nil {
		return nil, fmt.Errorf("cannot read the alerts from Prometheus: %w", err)
	}
	all := make([]Alert, len(data.Alerts))
	for i, a := range data.Alerts {
		all[i] = Alert{
			Name: a.Labels["alertname"], State: a.State, Severity: a.Labels["severity"],
			Summary: a.Annotations["summary"], Since: a.ActiveAt, Labels: a.Labels,
		}
	}
	slices.SortStableFunc(all, func(a, b Alert) int {
		return cmp.Or(strings.Compare(a.State, b.State), // firing comes before pending
			cmp.Compare(rank(a.Severity), rank(b.Severity)), a.Since.Compare(b.Since), strings.Compare(a.Name, b.Name))
	})
	return all, nil
}

func rank(severity string) int {
	if i := slices.Index(severities, severity); i >= 0 {
		return i
	}
	return len(severities)
}
