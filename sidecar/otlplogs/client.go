package otlplogs

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	collogspb "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	logspb "go.opentelemetry.io/proto/otlp/logs/v1"
	resourcepb "go.opentelemetry.io/proto/otlp/resource/v1"
	"google.golang.org/protobuf/proto"
)

const (
	callTimeout = 30 * time.Second
	dialTimeout = 10 * time.Second
	maxAfter    = 5 * time.Minute // that a receiver may have us wait
	maxAnswer   = 1 << 20
	defaultPath = "/v1/logs"
	scope       = "github.com/semantic-pod/semantic"
)

// ErrRefused says that the receiver will not have these lines, however often they are
// sent. Any other error is of the moment, or of the configuration.
var ErrRefused = errors.New("the receiver refuses the lines")

// BusyError is an answer that says when to come again.
type BusyError struct {
	Status string
	After  time.Duration // 0: it does not say
}

func (e *BusyError) Error() string { return "the receiver answered " + e.Status }

// Client sends to one receiver. One goroutine uses it.
type Client struct {
	Timeout time.Duration // for all of a call, to the last byte of its answer

	url     string
	headers http.Header
	http    *http.Client
}

// Check says what is wrong with a receiver's address.
func Check(address string) error {
	u, err := url.Parse(address)
	switch {
	case err != nil:
		return errors.New("it is no address such as http://localhost:4318")
	case (u.Scheme != "http" && u.Scheme != "https") || u.Host == "":
		return errors.New("it is no address such as http://localhost:4318 (OTLP over HTTP)")
	case u.User != nil:
		return errors.New("it has credentials, which belong into OTEL_EXPORTER_OTLP_LOGS_HEADERS")
	}
	return nil
}

// New returns a client of the receiver at the address, to which /v1/logs is added if it
// has no path. Headers and a private certificate authority come from the standard
// variables OTEL_EXPORTER_OTLP[_LOGS]_HEADERS and …_CERTIFICATE.
func New(address string) (*Client, error) {
	if err := Check(address); err != nil {
		return nil, err
	}
	u, _ := url.Parse(address) // was checked
	if u.Path == "" || u.Path == "/" {
		u.Path = defaultPath
	}
	headers, err := readHeaders()
	if err != nil {
		return nil, err
	}
	transport := newTransport()
	if _, file := variable("CERTIFICATE"); file != "" {
		pem, err := os.ReadFile(file)
		roots := x509.NewCertPool()
		if err != nil || !roots.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("OTEL_EXPORTER_OTLP_CERTIFICATE=%s has no certificate: %w", file, err)
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: roots}
	}
	return &Client{Timeout: callTimeout, url: u.String(), headers: headers, http: &http.Client{Transport: transport, CheckRedirect: stay}}, nil
}

// newTransport has HTTP/1 alone, which gives a connection up with the call that was not
// answered on it: one of HTTP/2 that died unnoticed would be used for many minutes.
func newTransport() *http.Transport {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	return &http.Transport{
		Proxy: http.ProxyFromEnvironment, Protocols: protocols,
		DialContext:         (&net.Dialer{Timeout: dialTimeout}).DialContext,
		TLSHandshakeTimeout: dialTimeout,
		MaxIdleConnsPerHost: 1, IdleConnTimeout: time.Minute, MaxResponseHeaderBytes: maxAnswer,
	}
}

// stay follows no redirection: that would turn the call into a GET, whose answer says
// nothing about the lines.
func stay(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// variable reads a setting of logs, or of all signals.
func variable(name string) (from, value string) {
	for _, prefix := range []string{"OTEL_EXPORTER_OTLP_LOGS_", "OTEL_EXPORTER_OTLP_"} {
		if v := os.Getenv(prefix + name); v != "" {
			return prefix + name, v
		}
	}
	return "", ""
}

func readHeaders() (http.Header, error) {
	headers := http.Header{"Content-Type": {"application/x-protobuf"}}
	from, list := variable("HEADERS")
	for pair := range strings.SplitSeq(list, ",") {
		if strings.TrimSpace(pair) == "" {
			continue
		}
		name, escaped, ok := strings.Cut(pair, "=")
		value, err := url.PathUnescape(strings.TrimSpace(escaped))
		if !ok || err != nil {
			return nil, fmt.Errorf("%s has what is not NAME=VALUE,…", from) // not the value: it may be a secret
		}
		headers.Set(strings.TrimSpace(name), value)
	}
	return headers, nil
}

// Close lets the idle connection go.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Origin says whose lines they are.
type Origin struct {
	Process string // proxy, engine or sidecar
	Host    string
	Version string
}

// Probe sends no lines at all, which a receiver takes. Whoever refuses that too refuses
// the call and not the lines in it: a wrong port, or a gateway before the receiver.
func (c *Client) Probe(ctx context.Context, from Origin) error {
	_, err := c.Send(ctx, from, nil)
	return err
}

// Send sends lines, each with its line feed. It returns how many of them the receiver
// says that it did not take although it took the rest.
func (c *Client) Send(ctx context.Context, from Origin, lines [][]byte) (rejected int64, err error) {
	body, err := proto.Marshal(request(from, lines, time.Now()))
	if err != nil {
		return 0, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url, bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	req.Header = c.headers
	resp, err := c.http.Do(req)
	if err != nil {
		c.http.CloseIdleConnections()
		return 0, c.late(ctx, err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return 0, fmt.Errorf("cannot read the receiver's answer %s: %w", resp.Status, c.late(ctx, err))
	}
	rejected, err = judge(resp, answer)
	return min(max(0, rejected), int64(len(lines))), err
}

// late names the deadline where that is what ended a call.
func (c *Client) late(ctx context.Context, err error) error {
	if ctx.Err() == context.DeadlineExceeded {
		return fmt.Errorf("no whole answer within %s: %w", c.Timeout, err)
	}
	return err
}

// judge says what an answer means: OTLP names the ones after which to try again, and
// those that are of the lines themselves. What is left is of how the two are set up,
// and no reason to lose a line.
func judge(resp *http.Response, answer []byte) (rejected int64, err error) {
	switch resp.StatusCode {
	case http.StatusOK, http.StatusAccepted, http.StatusNoContent:
		return taken(resp, answer)
	case http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnprocessableEntity:
		return 0, fmt.Errorf("%w: it answered %s: %s", ErrRefused, resp.Status, printable(answer))
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return 0, &BusyError{Status: resp.Status, After: retryAfter(resp.Header.Get("Retry-After"), time.Now())}
	}
	return 0, fmt.Errorf("the receiver answered %s: %s", resp.Status, printable(answer))
}

// taken reads the answer to lines that were taken. What is no answer of OTLP, such as a
// page of somebody else who has the port, takes nothing; some receivers answer nothing.
func taken(resp *http.Response, answer []byte) (rejected int64, err error) {
	kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	switch {
	case len(answer) == 0:
		return 0, nil
	case kind == "application/x-protobuf":
		var told collogspb.ExportLogsServiceResponse
		err = proto.Unmarshal(answer, &told)
		rejected = told.GetPartialSuccess().GetRejectedLogRecords()
	case kind == "application/json":
		var told struct {
			PartialSuccess struct {
				RejectedLogRecords int64 `json:",string"`
			}
		}
		err = json.Unmarshal(answer, &told)
		rejected = told.PartialSuccess.RejectedLogRecords
	default:
		err = fmt.Errorf("it is of the type %q", kind)
	}
	if err != nil {
		return 0, fmt.Errorf("the receiver answered %s with what is no answer of OTLP: %w", resp.Status, err)
	}
	return rejected, nil
}

// retryAfter reads the header's two forms, seconds and a date; 0 if it has neither.
func retryAfter(header string, now time.Time) time.Duration {
	if seconds, err := strconv.Atoi(header); err == nil {
		return time.Duration(min(max(0, seconds), int(maxAfter/time.Second))) * time.Second
	}
	if at, err := http.ParseTime(header); err == nil {
		return min(max(0, at.Sub(now)), maxAfter)
	}
	return 0
}

// printable is the beginning of an answer that may be protobuf.
func printable(answer []byte) string {
	clean := strings.Map(func(r rune) rune {
		if r < ' ' || r == '\uFFFD' {
			return ' '
		}
		return r
	}, string(answer[:min(len(answer), 300)]))
	return strings.TrimSpace(clean)
}

func request(from Origin, lines [][]byte, now time.Time) *collogspb.ExportLogsServiceRequest {
	records := make([]*logspb.LogRecord, len(lines))
	for i, line := range lines {
		records[i] = record(line, now)
	}
	if len(lines) == 0 {
		return &collogspb.ExportLogsServiceRequest{}
	}
	about := &resourcepb.Resource{}
	for _, a := range [][2]string{
		{"service.name", "semantic"}, {"service.version", from.Version}, {"semantic.process", from.Process}, {"host.name", from.Host},
	} {
		about.Attributes = append(about.Attributes, &commonpb.KeyValue{Key: a[0], Value: text(a[1])})
	}
	return &collogspb.ExportLogsServiceRequest{ResourceLogs: []*logspb.ResourceLogs{{
		Resource:  about,
		ScopeLogs: []*logspb.ScopeLogs{{Scope: &commonpb.InstrumentationScope{Name: scope, Version: from.Version}, LogRecords: records}},
	}}}
}
