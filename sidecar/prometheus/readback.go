package prometheus

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path"
	"time"

	"github.com/semantic-pod/semantic/alerts"
)

// loadedGroup is a group as GET /api/v1/rules tells of it.
type loadedGroup struct {
	Name  string       `json:"name"`
	File  string       `json:"file"`
	Rules []loadedRule `json:"rules"`
}

type loadedRule struct {
	Name           string            `json:"name"`
	Type           string            `json:"type"` // alerting or recording
	Query          string            `json:"query"`
	Duration       float64           `json:"duration"` // seconds that an alert is pending
	Labels         map[string]string `json:"labels"`
	Annotations    map[string]string `json:"annotations"`
	Health         string            `json:"health"` // ok, err or unknown
	LastError      string            `json:"lastError"`
	LastEvaluation time.Time         `json:"lastEvaluation"`
}

// ErrPending says that rules are loaded and were not evaluated yet.
var ErrPending = errors.New("not evaluated yet")

// Check proves that the groups are what Prometheus has loaded, rule by rule: name,
// query, time, labels and annotations; and that each was evaluated without an error
// after since. A file name restricts where they may come from; "" takes any. It
// returns how many rules were proved, and ErrPending if all that is missing is time.
func (c *Client) Check(ctx context.Context, groups []alerts.Group, file string, since time.Time) (proved int, err error) {
	var answer struct {
		Groups []loadedGroup `json:"groups"`
	}
	if err := c.get(ctx, "/api/v1/rules", nil, &answer); err != nil {
		return 0, fmt.Errorf("cannot read the rules back from Prometheus: %w", err)
	}
	byName := map[string]loadedGroup{}
	for _, g := range answer.Groups {
		if file == "" || path.Base(g.File) == file {
			byName[g.Name] = g
		}
	}
	var errs []error
	pending := false
	for _, g := range groups {
		loaded, ok := byName[g.Name]
		switch {
		case !ok:
			errs = append(errs, fmt.Errorf("group %s is not loaded", g.Name))
			continue
		case len(loaded.Rules) != len(g.Rules):
			errs = append(errs, fmt.Errorf("group %s has %d rules, not %d", g.Name, len(loaded.Rules), len(g.Rules)))
			continue
		}
		for i, want := range g.Rules {
			switch err := c.checkRule(ctx, want, loaded.Rules[i], since); {
			case err == nil:
				proved++
			case errors.Is(err, ErrPending):
				pending = true
			default:
				errs = append(errs, fmt.Errorf("%s: %w", want.Name(), err))
			}
		}
	}
	if len(errs) == 0 && pending {
		return proved, ErrPending
	}
	return proved, summary(errs)
}

// summary keeps an error readable when all rules have one.
func summary(errs []error) error {
	const most = 3
	if len(errs) > most {
		return fmt.Errorf("%w\nand %d more", errors.Join(errs[:most]...), len(errs)-most)
	}
	return errors.Join(errs...)
}

func (c *Client) checkRule(ctx context.Context, want alerts.Rule, got loadedRule, since time.Time) error {
	if got.Name != want.Name() || (got.Type == "alerting") != (want.Alert != "") {
		return fmt.Errorf("%s rule %s is in its place", got.Type, got.Name)
	}
	wanted, err := c.Canonical(ctx, want.Expr)
	if err != nil {
		return err
	}
	loaded, err := c.Canonical(ctx, got.Query)
	if err != nil {
		return err
	}
	hold, err := want.Hold()
	switch {
	case err != nil:
		return err
	case wanted != loaded:
		return fmt.Errorf("another expression is loaded: %s", got.Query)
	case got.Duration != hold.Seconds():
		return fmt.Errorf("it is loaded with for: %vs, not %s", got.Duration, hold)
	case !maps.Equal(got.Labels, want.Labels) && len(got.Labels)+len(want.Labels) > 0:
		return fmt.Errorf("it is loaded with the labels %v", got.Labels)
	case want.Alert != "" && !maps.Equal(got.Annotations, want.Annotations):
		return fmt.Errorf("it is loaded with other annotations: %v", got.Annotations)
	case got.Health == "err":
		return fmt.Errorf("it cannot be evaluated: %s", got.LastError)
	case got.Health != "ok" || got.LastEvaluation.Before(since):
		return ErrPending
	}
	return nil
}
