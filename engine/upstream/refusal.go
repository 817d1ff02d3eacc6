package upstream

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/semantic-pod/semantic/api"
	"github.com/semantic-pod/semantic/engine/dialect"
)

const (
	maxErrorBytes   = 64 << 10 // of an answer that is an error
	maxErrorMessage = 1000     // of what is passed on
	longestBusy     = 30 * time.Second
)

// told is an error as upstreams write it; each of its fields may be missing.
type told struct {
	Message string
	Param   string
	Code    string
	Status  int
}

// toldError is an error that came as an event of a stream.
type toldError struct{ told }

func (e *toldError) Error() string { return "it says: " + e.Message }

// readError reads the shapes of OpenAI, Anthropic, vLLM and FastAPI.
func readError(body []byte) told {
	type shape struct {
		Message string          `json:"message"`
		Param   string          `json:"param"`
		Code    json.RawMessage `json:"code"`
		Type    string          `json:"type"`
	}
	var outer struct {
		shape
		Error  json.RawMessage `json:"error"`
		Detail json.RawMessage `json:"detail"`
	}
	if json.Unmarshal(body, &outer) != nil {
		return told{Message: clip(string(body))}
	}
	inner := outer.shape
	if len(outer.Error) > 0 && json.Unmarshal(outer.Error, &inner) != nil {
		_ = json.Unmarshal(outer.Error, &inner.Message)
	}
	if inner.Message == "" {
		inner.Message = strings.Trim(string(outer.Detail), `"`)
	}
	t := told{Message: clip(inner.Message), Param: inner.Param}
	if json.Unmarshal(inner.Code, &t.Status) != nil {
		_ = json.Unmarshal(inner.Code, &t.Code)
	}
	return t
}

func clip(s string) string {
	s = strings.ToValidUTF8(strings.TrimSpace(s), "\ufffd")
	if len(s) > maxErrorMessage {
		s = strings.ToValidUTF8(s[:maxErrorMessage], "") + "…"
	}
	return s
}

// refused is the outcome of an answer that is no success.
func refused(resp *http.Response, r *dialect.Request) outcome {
	body, _ := io.ReadAll(io.LimitReader(resp.Body, maxErrorBytes)) // what came of it is enough
	return verdictOn(resp.StatusCode, readError(body), resp.Header.Get("Retry-After"), r)
}

// outcome is that of an error that came as an event.
func (e *toldError) outcome(a *answer) outcome {
	if a.begun {
		return outcome{verdict: failed, err: died("failed in the middle of its answer"), why: e}
	}
	status := e.Status
	if status < 400 || status > 599 {
		status = http.StatusInternalServerError
	}
	return verdictOn(status, e.told, "", a.call.Request)
}

// verdictOn says whose fault a status is, and what the client is told.
func verdictOn(status int, t told, retryAfter string, r *dialect.Request) outcome {
	why := fmt.Errorf("it answers %d: %s", status, t.Message)
	switch status {
	case http.StatusBadRequest, http.StatusUnprocessableEntity, http.StatusRequestEntityTooLarge, http.StatusNotImplemented:
		return outcome{verdict: neutral, err: clientsFault(status, t, r)}
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		wait := time.Second
		if s, err := strconv.Atoi(retryAfter); err == nil && s > 0 {
			wait = min(time.Duration(s)*time.Second, longestBusy)
		}
		return outcome{verdict: busy, wait: wait, why: why, err: &api.Error{
			Status: http.StatusServiceUnavailable, Code: "upstream_busy", Finish: api.FinishShed, RetryAfter: wait,
			Message: "the servers that compute the answers have no room; try again later",
		}}
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusMethodNotAllowed:
		return outcome{verdict: failed, why: fmt.Errorf("%w; see --upstream-key-file, --upstream-model and --upstream-url", why), err: &api.Error{
			Status: http.StatusBadGateway, Code: "upstream_misconfigured", Finish: api.FinishError,
			Message: fmt.Sprintf("the server that computes the answers refuses this pod with status %d; its operator has to look", status),
		}}
	}
	return outcome{verdict: failed, why: why, err: died(fmt.Sprintf("failed with status %d", status))}
}

// clientsFault passes on what an upstream says about a request.
func clientsFault(status int, t told, r *dialect.Request) *api.Error {
	e := &api.Error{Status: status, Code: t.Code, Param: t.Param, Message: t.Message}
	if status == http.StatusUnprocessableEntity || status == http.StatusNotImplemented {
		e.Status = http.StatusBadRequest
	}
	if e.Code == "" {
		e.Code = dialect.CodeInvalidValue
	}
	if e.Message == "" {
		e.Message = "the server that computes the answers refuses this request"
	}
	if r.MaxTokens == 0 && strings.Contains(strings.ToLower(t.Message), "max") {
		e.Message += " (the request has no bound of its own, so --default-max-tokens was asked for)"
	}
	return e
}
