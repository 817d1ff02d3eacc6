package sidecar

import (
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/semantic-pod/semantic/alerts"
	"github.com/semantic-pod/semantic/sidecar/prometheus"
)

// alertsTimeout bounds how long an asker for the alerts waits for Prometheus.
const alertsTimeout = 1500 * time.Millisecond

// alertList tells which of our alerts Prometheus holds to be pending or firing.
type alertList struct {
	client *prometheus.Client // nil without --prometheus-url
}

func newAlertList(url string) *alertList {
	if url == "" {
		return &alertList{}
	}
	return &alertList{client: prometheus.New(url)}
}

// serve answers GET /alerts: those that fire first, then by severity, the oldest first.
func (a *alertList) serve(w http.ResponseWriter, r *http.Request) {
	if a.client == nil {
		answer(w, http.StatusNotFound, map[string]string{"error": "the sidecar knows no Prometheus: see --prometheus-url"})
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), alertsTimeout)
	defer cancel()
	all, err := a.client.Alerts(ctx)
	if err != nil {
		answer(w, http.StatusBadGateway, map[string]string{"error": err.Error()})
		return
	}
	ours := alerts.Names()
	all = slices.DeleteFunc(all, func(one prometheus.Alert) bool {
		return one.Name == alerts.Watchdog || !slices.Contains(ours, one.Name)
	})
	answer(w, http.StatusOK, map[string]any{"alerts": all})
}

func (a *alertList) close() {
	if a.client != nil {
		a.client.Close()
	}
}
