package api

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// Dialect is the vendor's API that a route speaks; it decides the shape of errors.
type Dialect int

// The dialects.
const (
	OpenAI Dialect = iota
	Anthropic
)

// DialectOf returns the dialect of a request path.
func DialectOf(path string) Dialect {
	if path == "/v1/messages" || strings.HasPrefix(path, "/v1/messages/") {
		return Anthropic
	}
	return OpenAI
}

// Error is an answer that is no success, before a dialect gives it its shape.
type Error struct {
	Status     int           // HTTP status
	Code       string        // machine-readable, such as "model_not_found"
	Param      string        // the field of the body that is to blame, or ""
	Message    string        // says what was wrong and which field or setting to change
	Finish     Finish        // the class of the request; "" lets the status decide
	RetryAfter time.Duration // sent with 429 and 503; at least one second
}

func (e *Error) Error() string {
	if e.Param != "" {
		return fmt.Sprintf("%d %s (%s): %s", e.Status, e.Code, e.Param, e.Message)
	}
	return fmt.Sprintf("%d %s: %s", e.Status, e.Code, e.Message)
}

// Class returns the finish class of a request that ended with this error.
func (e *Error) Class() Finish {
	switch {
	case e.Finish != "":
		return e.Finish
	case e.Status == http.StatusServiceUnavailable:
		return FinishShed
	case e.Status == http.StatusGatewayTimeout:
		return FinishDeadline
	case e.Status == http.StatusBadGateway:
		return FinishEngineDied
	case e.Status < 500:
		return FinishRejected
	}
	return FinishError
}

// Body returns the error as the dialect's JSON body:
// OpenAI {"error":{"message","type","code","param"}},
// Anthropic {"type":"error","error":{"type","message"}}.
func (e *Error) Body(d Dialect) []byte {
	var v any
	if d == Anthropic {
		v = anthropicBody{Type: "error", Error: anthropicError{Type: anthropicType(e.Status), Message: e.Message}}
	} else {
		o := openAIError{Message: e.Message, Type: openAIType(e.Status), Code: e.Code}
		if e.Param != "" {
			o.Param = &e.Param
		}
		v = openAIBody{Error: o}
	}
	b, _ := json.Marshal(v) // strings only: cannot fail
	return b
}

// Event returns the error as the event that ends a stream in this dialect. No
// terminal event ([DONE], message_stop) follows it.
func (e *Error) Event(d Dialect) []byte {
	prefix := "data: "
	if d == Anthropic {
		prefix = "event: error\ndata: "
	}
	return append(append([]byte(prefix), e.Body(d)...), "\n\n"...)
}

type openAIBody struct {
	Error openAIError `json:"error"`
}

type openAIError struct {
	Message string  `json:"message"`
	Type    string  `json:"type"`
	Code    string  `json:"code"`
	Param   *string `json:"param"`
}

type anthropicBody struct {
	Type  string         `json:"type"`
	Error anthropicError `json:"error"`
}

type anthropicError struct {
	Type    string `json:"type"`
	Message string `json:"message"`
}

// openAIType follows the "type" values that OpenAI's API returns.
func openAIType(status int) string {
	switch {
	case status == http.StatusUnauthorized:
		return "authentication_error"
	case status == http.StatusForbidden:
		return "permission_error"
	case status == http.StatusTooManyRequests:
		return "rate_limit_error"
	case status >= 500:
		return "server_error"
	}
	return "invalid_request_error"
}

// anthropicType follows the error table of Anthropic's API reference.
func anthropicType(status int) string {
	switch status {
	case http.StatusUnauthorized:
		return "authentication_error"
	case http.StatusForbidden:
		return "permission_error"
	case http.StatusNotFound:
		return "not_found_error"
	case http.StatusRequestEntityTooLarge:
		return "request_too_large"
	case http.StatusTooManyRequests:
		return "rate_limit_error"
	case http.StatusServiceUnavailable:
		return "overloaded_error"
	case http.StatusGatewayTimeout:
		return "timeout_error"
	}
	if status >= 500 {
		return "api_error"
	}
	return "invalid_request_error"
}
