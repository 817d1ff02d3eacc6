package proxy

import (
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/semantic-pod/semantic/api"
)

// statusClientGone is in the log and the metrics of a request whose client left
// before the answer began. Nobody receives it.
const statusClientGone = 499

func errInternal() *api.Error {
	return &api.Error{Status: http.StatusInternalServerError, Code: "internal_error", Message: "the proxy failed on this request; its log says why"}
}

func errNoRoute(x *exchange) *api.Error {
	return &api.Error{Status: http.StatusNotFound, Code: "not_found",
		Message: fmt.Sprintf("there is no route %s %s", brief(x.ctx.Method()), brief(x.path))}
}

func errMalformed(why string) *api.Error {
	return &api.Error{Status: http.StatusBadRequest, Code: "bad_request", Message: "the request is malformed: " + why}
}

func errTooBusy(limit int) *api.Error {
	return &api.Error{Status: http.StatusServiceUnavailable, Code: "overloaded", RetryAfter: time.Second,
		Message: fmt.Sprintf("the server is at its limit of %d requests at once (--max-in-flight): try again", limit)}
}

func errUnreachable() *api.Error {
	return &api.Error{Status: http.StatusServiceUnavailable, Code: string(reasonUnreachable), RetryAfter: time.Second,
		Message: "the engine cannot be reached (engine_unreachable): it is starting or restarting; try again"}
}

func errBacklog() *api.Error {
	return &api.Error{Status: http.StatusServiceUnavailable, Code: "overloaded", RetryAfter: time.Second,
		Message: "the engine takes no more connections at the moment: try again"}
}

func errEngineDied(how string) *api.Error {
	return &api.Error{Status: http.StatusBadGateway, Code: "engine_died", Message: "the engine " + how + "; it is safe to try again"}
}

func errDeadline(limit time.Duration) *api.Error {
	return &api.Error{Status: http.StatusGatewayTimeout, Code: "deadline_exceeded",
		Message: fmt.Sprintf("the request took longer than --request-timeout=%s", limit)}
}

func errDrained() *api.Error {
	return &api.Error{Status: http.StatusServiceUnavailable, Code: string(reasonShuttingDown), RetryAfter: time.Second,
		Finish: api.FinishDrained, Message: "the server is shutting down and the request's time to end was up: try again"}
}

func errClientGone() *api.Error {
	return &api.Error{Status: statusClientGone, Code: "client_gone", Finish: api.FinishClientGone, Message: "the client left"}
}

func errStreamNeedsHTTP11() *api.Error {
	return &api.Error{Status: http.StatusHTTPVersionNotSupported, Code: "http_version_not_supported", Finish: api.FinishRejected,
		Message: "a stream needs HTTP/1.1 (for nginx: proxy_http_version 1.1)"}
}

// notReady is the refusal for a reason that /health/ready gives.
func notReady(r reason, loadError string) *api.Error {
	switch r {
	case reasonUnreachable:
		return errUnreachable()
	case reasonLoading:
		if loadError != "" {
			return &api.Error{Status: http.StatusServiceUnavailable, Code: string(r), RetryAfter: 5 * time.Second,
				Message: "the model cannot be loaded (model_loading): " + loadError}
		}
		return &api.Error{Status: http.StatusServiceUnavailable, Code: string(r), RetryAfter: time.Second,
			Message: "the model is still being loaded (model_loading): try again"}
	case reasonOffloaded:
		return &api.Error{Status: http.StatusServiceUnavailable, Code: string(r), RetryAfter: 5 * time.Second,
			Message: "the model is offloaded (model_offloaded): it has to be loaded again first"}
	case reasonCutOff:
		return &api.Error{Status: http.StatusServiceUnavailable, Code: string(r), RetryAfter: time.Second,
			Message: "no server that computes answers can be reached (upstream_unreachable): try again"}
	}
	return nil // the other reasons turn readiness, not requests
}

// tooManyConnections is for a connection that nobody reads from.
func tooManyConnections(over string) []byte {
	return wholeAnswer(&api.Error{Status: http.StatusServiceUnavailable, Code: "overloaded",
		Message: "the server is at its limit of connections (--" + over + "): try again"})
}

// wholeAnswer is e as bytes, for a connection that is not served.
func wholeAnswer(e *api.Error) []byte {
	body := e.Body(api.OpenAI)
	b := fmt.Appendf(nil, "HTTP/1.1 %d %s\r\nConnection: close\r\nContent-Type: application/json\r\n", e.Status, http.StatusText(e.Status))
	if e.Status == http.StatusServiceUnavailable {
		b = append(b, "Retry-After: 1\r\n"...)
	}
	b = append(append(append(b, api.HeaderRequestID+": "...), api.AppendRequestID(nil)...), "\r\n"...)
	b = strconv.AppendInt(append(b, "Content-Length: "...), int64(len(body)), 10)
	return append(append(b, "\r\n\r\n"...), body...)
}
