package engine

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"mime"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/semantic-pod/semantic/api"
)

const (
	maxBody      = 16 << 20
	bodyTimeout  = 30 * time.Second // to read a body
	writeTimeout = 30 * time.Second // to write a piece of an answer
)

// exchange is one HTTP request and its answer.
type exchange struct {
	engine  *Engine
	w       http.ResponseWriter
	r       *http.Request
	control *http.ResponseController
	dialect api.Dialect

	id, tenant string
	agent      string // "" for none
	template   string // of the route; "" for a path that is none of ours
	arrival    time.Time
	bytesIn    int
	bytesOut   int
	status     int // 0 until the header is written
	finish     api.Finish
	result     result // of a generation
	trace      *batchTrace
}

func newExchange(e *Engine, w http.ResponseWriter, r *http.Request) *exchange {
	x := &exchange{
		engine: e, w: w, r: r, control: http.NewResponseController(w),
		dialect: api.DialectOf(r.URL.Path), arrival: time.Now(),
		id: r.Header.Get(api.HeaderRequestID), tenant: r.Header.Get(api.HeaderTenant), agent: r.Header.Get(api.HeaderAgent),
	}
	if !api.ValidRequestID([]byte(x.id)) {
		x.id = string(api.AppendRequestID(nil))
	}
	x.trace = e.traceOf(r.Header.Get(api.HeaderTraceparent))
	if x.tenant == "" {
		x.tenant = "default"
	}
	w.Header().Set(api.HeaderRequestID, x.id)
	if x.dialect == api.Anthropic {
		w.Header().Set("Request-Id", x.id) // where Anthropic's SDKs look for it
	}
	return x
}

// body reads the whole body, which must say that it is JSON.
func (x *exchange) body() ([]byte, *api.Error) {
	if err := checkMediaType(x.r.Header); err != nil {
		return nil, err
	}
	// The deadline must be gone before the answer, or the watch on the connection,
	// which tells us that the client left, would end with it.
	_ = x.control.SetReadDeadline(time.Now().Add(bodyTimeout))
	defer func() { _ = x.control.SetReadDeadline(time.Time{}) }()
	var buf bytes.Buffer
	if n := x.r.ContentLength; n > 0 && n <= maxBody {
		buf.Grow(int(n) + bytes.MinRead)
	}
	_, err := buf.ReadFrom(http.MaxBytesReader(x.w, x.r.Body, maxBody))
	x.bytesIn = buf.Len()
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return nil, &api.Error{
			Status: http.StatusRequestEntityTooLarge, Code: "request_too_large",
			Message: fmt.Sprintf("the body has more than %d bytes", maxBody),
		}
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, &api.Error{
			Status: http.StatusRequestTimeout, Code: "request_timeout",
			Message: fmt.Sprintf("the body did not come within %s", bodyTimeout),
		}
	case errors.Is(err, io.ErrUnexpectedEOF):
		return nil, &api.Error{Status: statusClientGone, Code: "client_gone", Finish: api.FinishClientGone, Message: "the body ended too early"}
	case err != nil:
		return nil, &api.Error{Status: http.StatusBadRequest, Code: "invalid_body", Message: "the body could not be read: " + err.Error()}
	}
	return buf.Bytes(), nil
}

func checkMediaType(h http.Header) *api.Error {
	bad := func(message string) *api.Error {
		return &api.Error{Status: http.StatusUnsupportedMediaType, Code: "unsupported_media_type", Message: message}
	}
	media, params, err := mime.ParseMediaType(h.Get("Content-Type"))
	if err != nil || media != "application/json" {
		return bad("the body must be JSON, sent with Content-Type: application/json")
	}
	if c := params["charset"]; c != "" && !strings.EqualFold(c, "utf-8") {
		return bad("the body must be UTF-8")
	}
	if c := h.Get("Content-Encoding"); c != "" && !strings.EqualFold(c, "identity") {
		return bad("the body must not be encoded")
	}
	return nil
}

// number reads a header that the proxy sets to a whole number.
func (x *exchange) number(name string) (n int, given bool, err *api.Error) {
	s := x.r.Header.Get(name)
	if s == "" {
		return 0, false, nil
	}
	v, bad := strconv.ParseInt(s, 10, 64)
	if bad != nil || v < 0 {
		return 0, false, &api.Error{
			Status: http.StatusBadRequest, Code: "invalid_header", Param: name,
			Message: name + " must be a whole number that is not negative",
		}
	}
	return int(min(v, math.MaxInt32)), true, nil
}

// fail answers with an error. After the header is out there is no way to.
func (x *exchange) fail(err *api.Error) {
	x.finish = err.Class()
	setOutcome(x.w.Header(), x.finish, x.result)
	if err.RetryAfter > 0 {
		seconds := max(1, int64(math.Ceil(err.RetryAfter.Seconds())))
		x.w.Header().Set("Retry-After", strconv.FormatInt(seconds, 10))
	}
	x.json(err.Status, err.Body(x.dialect))
}

// json answers with one JSON body.
func (x *exchange) json(status int, body []byte) {
	h := x.w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	x.writeHeader(status)
	if x.write(body) != nil && x.finish != api.FinishOK {
		x.finish = api.FinishClientGone
	}
}

func (x *exchange) writeHeader(status int) {
	x.status = status
	x.w.WriteHeader(status)
}

// write sends a piece of the answer at once.
func (x *exchange) write(b []byte) error {
	_ = x.control.SetWriteDeadline(time.Now().Add(writeTimeout))
	n, err := x.w.Write(b)
	x.bytesOut += n
	if err != nil {
		return err
	}
	return x.control.Flush()
}
