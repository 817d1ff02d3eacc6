package sidecar

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	v1 "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	"google.golang.org/protobuf/proto"
)

// receiverFault is one way in which a receiver, or who has its port, fails.
type receiverFault struct {
	answer func(w http.ResponseWriter, gone <-chan struct{})
	says   string // in the duty's error
}

// answerWith answers with a status and, after its type, a text.
func answerWith(status int, kind, text string, header ...string) func(http.ResponseWriter, <-chan struct{}) {
	return func(w http.ResponseWriter, _ <-chan struct{}) {
		for i := 0; i < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.Header().Set("Content-Type", kind)
		w.WriteHeader(status)
		fmt.Fprint(w, text)
	}
}

// raw answers with bytes, and holds the connection or closes it.
func raw(text string, hold bool) func(http.ResponseWriter, <-chan struct{}) {
	return func(w http.ResponseWriter, gone <-chan struct{}) {
		conn, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			panic(err)
		}
		defer conn.Close()
		fmt.Fprint(conn, text)
		if hold {
			<-gone
		}
	}
}

var receiverFaults = map[string]receiverFault{
	"never answers":            {raw("", true), "no whole answer within"},
	"half a header":            {raw("HTTP/1.1 200 OK\r\nContent-Le", true), "no whole answer within"},
	"half a body":              {raw("HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: 100\r\n\r\nx", true), "no whole answer within"},
	"half a body, then an end": {raw("HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: 100\r\n\r\nx", false), "unexpected EOF"},
	"closes":                   {raw("", false), "EOF"},
	"no HTTP":                  {raw("220 mail ESMTP\r\n", true), "malformed HTTP"},
	"no protobuf":              {answerWith(200, "application/x-protobuf", "\xff\xff"), "no answer of OTLP"},
	"a stranger's page":        {answerWith(200, "text/html", "<html>"), `of the type "text/html"`},
	"redirected to log in":     {answerWith(302, "text/html", "", "Location", "/login"), "answered 302"},
	"a port for TLS":           {answerWith(400, "text/plain", "Client sent an HTTP request to an HTTPS server."), "not even an empty call"},
	"too large for a gateway":  {answerWith(413, "text/html", ""), "not even an empty call"},
	"unauthorized":             {answerWith(401, "text/plain", "no"), "answered 401"},
	"not found":                {answerWith(404, "text/plain", "no"), "answered 404"},
	"out of time":              {answerWith(408, "text/plain", ""), "answered 408"},
	"broken":                   {answerWith(500, "application/x-protobuf", ""), "answered 500"},
	"too many":                 {answerWith(429, "text/plain", "", "Retry-After", "1"), "answered 429"},
	"busy until a date":        {answerWith(503, "text/plain", "", "Retry-After", time.Now().UTC().Format(http.TimeFormat)), "answered 503"},
}

// Whatever a receiver does, it neither holds the lines for good nor has one given up:
// the failure is told, and when it answers again each line comes, and is counted once.
func TestNoReceiverHoldsLinesForGood(t *testing.T) {
	type try struct {
		name string
		r    *receiver
		s    *Sidecar
	}
	gone := make(chan struct{})
	var tries []try
	for name, fault := range receiverFaults {
		r := newReceiver(t)
		bad := func(w http.ResponseWriter, _ []string) bool { fault.answer(w, gone); return false }
		r.answer.Store(&bad)
		cfg := testConfig(t.TempDir())
		cfg.ShipOTLP = r.URL
		write(t, cfg.LogDir, "engine.log", "a\nb\nc\n")
		s, err := New(cfg, openLog(t, t.TempDir(), "sidecar"))
		if err != nil {
			t.Fatal(err)
		}
		s.lines.client.Timeout = 2 * time.Second
		if err := s.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { stop(t, s) })
		tries = append(tries, try{name, r, s})
	}
	for _, one := range tries {
		within(t, time.Minute, one.name+" is told", func() bool {
			return strings.Contains(one.s.health.report(time.Now()).Duties["log_ship_otlp"].Error, receiverFaults[one.name].says)
		})
		if got := one.r.taken(); got != "" {
			t.Errorf("%s: %q was taken", one.name, got)
		}
		one.r.answer.Store(nil)
	}
	close(gone)
	for _, one := range tries {
		within(t, time.Minute, "after "+one.name+" all lines come", func() bool { return strings.Join(distinct(one.r.list()), " ") == "a b c" })
		within(t, time.Minute, "after "+one.name+" nothing lags", func() bool {
			state := one.s.health.report(time.Now()).Duties["log_ship_otlp"]
			return state.OK && state.Error == "" && gauge(t, one.s, `semantic_log_ship_lag_seconds{to="otlp"}`) == "0"
		})
		if got := gauge(t, one.s, `semantic_log_lines_unshipped_total{reason="refused"}`); got != "0" {
			t.Errorf("%s: %s lines were given up", one.name, got)
		}
		if got := gauge(t, one.s, "semantic_log_lines_shipped_total"); got != "3" {
			t.Errorf("%s: %s lines are counted as shipped", one.name, got)
		}
	}
}

// What a receiver says that it did not take of a call is counted, and not sent again.
func TestPartialSuccessIsCounted(t *testing.T) {
	for kind, answer := range map[string]string{
		"application/x-protobuf": func() string {
			told, err := proto.Marshal(&v1.ExportLogsServiceResponse{PartialSuccess: &v1.ExportLogsPartialSuccess{RejectedLogRecords: 2, ErrorMessage: "too old"}})
			must(err)
			return string(told)
		}(),
		"application/json; charset=utf-8": `{"partialSuccess":{"rejectedLogRecords":"2","errorMessage":"too old"}}`,
	} {
		r := newReceiver(t)
		partial := func(w http.ResponseWriter, _ []string) bool {
			answerWith(200, kind, answer)(w, nil)
			return true
		}
		r.answer.Store(&partial)
		cfg := testConfig(t.TempDir())
		cfg.ShipOTLP = r.URL
		write(t, cfg.LogDir, "engine.log", "a\nb\nc\n")
		s := startTest(t, cfg)
		within(t, time.Minute, kind+": two are counted", func() bool {
			return gauge(t, s, `semantic_log_lines_unshipped_total{reason="refused"}`) == "2" && gauge(t, s, "semantic_log_lines_shipped_total") == "1"
		})
		stop(t, s)
		if got := r.taken(); got != "a b c" {
			t.Errorf("%s: %q was sent", kind, got)
		}
	}
}

// A log that cannot be read is told, and holds up no other.
func TestUnreadableLogHoldsUpNoOther(t *testing.T) {
	r := newReceiver(t)
	cfg := testConfig(t.TempDir())
	cfg.ShipOTLP = r.URL
	write(t, cfg.LogDir, "engine.log.20260102T030405.000000001Z.zst", "no zstd")
	log := openLog(t, cfg.LogDir, "proxy")
	s := startTest(t, cfg)
	dutySays(t, s, "log_ship_otlp", "engine.log")
	for i := range 20 {
		log.Zap().Info(fmt.Sprint("line", i))
		must(log.Sync())
		within(t, time.Minute, "a line comes", func() bool { return strings.HasSuffix(r.taken(), fmt.Sprint("line", i)) })
	}
}
