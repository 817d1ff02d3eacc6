package sidecar

import (
	"encoding/json"
	"net/http"
	"time"
)

// health tells how the sidecar's duties stand. A duty that fails makes the sidecar
// degraded and raises alerts, but not unready: that would take the whole pod out
// of its Service over something that no request needs.
type health struct {
	duties []*duty
	first  []*duty // those of a start: the others wait on somebody outside of the pod
}

// report is the body of GET /health.
type report struct {
	Status string               `json:"status"` // ok or degraded
	Duties map[string]DutyState `json:"duties"`
}

func (h *health) report(now time.Time) report {
	r := report{Status: "ok", Duties: map[string]DutyState{}}
	for _, d := range h.duties {
		state := d.state(now)
		if !state.OK {
			r.Status = "degraded"
		}
		r.Duties[d.name] = state
	}
	return r
}

// live fails when a loop has stopped moving, so that it gets restarted.
func (h *health) live(w http.ResponseWriter, _ *http.Request) {
	for _, d := range h.duties {
		if d.stuck(time.Now()) {
			answer(w, http.StatusServiceUnavailable, map[string]string{"status": "stuck", "reason": d.name})
			return
		}
	}
	answer(w, http.StatusOK, map[string]string{"status": "alive"})
}

// startup and ready hold from the first look at the logs on, whatever it found.
func (h *health) startup(w http.ResponseWriter, _ *http.Request) {
	if d := h.untried(); d != nil {
		answer(w, http.StatusServiceUnavailable, map[string]string{"status": "starting", "reason": d.name})
		return
	}
	answer(w, http.StatusOK, map[string]string{"status": "started"})
}

func (h *health) ready(w http.ResponseWriter, _ *http.Request) {
	if d := h.untried(); d != nil {
		answer(w, http.StatusServiceUnavailable, map[string]string{"status": "not_ready", "reason": d.name})
		return
	}
	answer(w, http.StatusOK, map[string]string{"status": "ready"})
}

func (h *health) untried() *duty {
	for _, d := range h.first {
		if !d.tried() {
			return d
		}
	}
	return nil
}

func (h *health) whole(w http.ResponseWriter, _ *http.Request) {
	answer(w, http.StatusOK, h.report(time.Now()))
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // a client that left needs no answer
}
