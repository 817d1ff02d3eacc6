package console

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/semantic-pod/semantic/api"
)

const adminKey = "an-admin-key-0123456789"

// testConsole is a console whose proxy is a server of the test's on a socket.
func testConsole(t *testing.T, ticket string) (*httptest.Server, Config) {
	t.Helper()
	dir := t.TempDir()
	socket := filepath.Join(dir, "p.sock")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	proxy := http.NewServeMux()
	proxy.HandleFunc("POST "+api.PathAdmin, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer "+adminKey {
			w.WriteHeader(http.StatusUnauthorized)
		}
	})
	proxy.HandleFunc("GET "+api.PathKeys, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"keys":[]}`) })
	server := &http.Server{Handler: proxy}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { _ = server.Close() })
	cfg := Config{
		Proxy: socket, Engine: filepath.Join(dir, "none.sock"), Ticket: ticket, TicketUsed: filepath.Join(dir, "used"), LogDir: dir,
		Listen: func() string { return "127.0.0.1:8002" }, External: "https://pod.example:8443", Log: zap.NewNop(),
		Own: func(io.Writer) (int64, error) { return 0, nil }, Health: func() any { return nil }, Manifest: func() any { return nil },
		Alerts: func(context.Context) (any, error) { return nil, errors.New("none") }, Drift: func() any { return nil },
	}
	mux := http.NewServeMux()
	New(cfg).Serve(mux)
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s, cfg
}

// send sends a request and returns its status and cookie.
func send(t *testing.T, s *httptest.Server, method, path, body, cookie string, headers ...string) (int, string) {
	t.Helper()
	req, err := http.NewRequest(method, s.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if cookie != "" {
		req.AddCookie(&http.Cookie{Name: cookieName, Value: cookie})
	}
	if method != http.MethodGet {
		req.Header.Set("Origin", s.URL)
	}
	for i := 0; i < len(headers); i += 2 {
		if headers[i] == "Host" {
			req.Host = headers[i+1]
			continue
		}
		req.Header.Set(headers[i], headers[i+1])
	}
	client := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	for _, c := range resp.Cookies() {
		if c.Name == cookieName {
			if !c.HttpOnly || c.SameSite != http.SameSiteStrictMode {
				t.Errorf("the cookie is %+v", c)
			}
			cookie = c.Value
		}
	}
	if policy := resp.Header.Get("Content-Security-Policy"); !strings.Contains(policy, "script-src 'self'") || strings.Contains(policy, "unsafe") {
		t.Errorf("%s %s: the policy is %q", method, path, policy)
	}
	return resp.StatusCode, cookie
}

func TestOnlyAnAdminsKeyOpensTheConsole(t *testing.T) {
	s, _ := testConsole(t, "")
	const limits = "/console/api/limits"
	for _, cookie := range []string{"", "made-up"} {
		if status, _ := send(t, s, http.MethodGet, limits, "", cookie); status != http.StatusUnauthorized {
			t.Errorf("cookie %q: %d", cookie, status)
		}
	}
	if status, _ := send(t, s, http.MethodPost, "/console/api/login", `{"key":"wrong"}`, ""); status != http.StatusUnauthorized {
		t.Errorf("a wrong key: %d", status)
	}
	status, cookie := send(t, s, http.MethodPost, "/console/api/login", `{"key":"`+adminKey+`"}`, "")
	if status != http.StatusOK || cookie == "" {
		t.Fatalf("the right key: %d", status)
	}
	if status, _ := send(t, s, http.MethodGet, limits, "", cookie); status != http.StatusOK {
		t.Errorf("with a session: %d", status)
	}
	if status, _ := send(t, s, http.MethodPost, "/console/api/logout", "", cookie); status != http.StatusOK {
		t.Errorf("leaving: %d", status)
	}
	if status, _ := send(t, s, http.MethodGet, limits, "", cookie); status != http.StatusUnauthorized {
		t.Errorf("after leaving: %d", status)
	}
	for range maxFailures {
		send(t, s, http.MethodPost, "/console/api/login", `{"key":"wrong"}`, "")
	}
	if status, _ := send(t, s, http.MethodPost, "/console/api/login", `{"key":"`+adminKey+`"}`, ""); status != http.StatusTooManyRequests {
		t.Errorf("after many wrong keys: %d", status)
	}
}

func TestALinkIsGoodOnceAlsoAfterARestart(t *testing.T) {
	const ticket = "the-secret-of-the-link"
	s, cfg := testConsole(t, ticket)
	if status, _ := send(t, s, http.MethodGet, "/console/enter?ticket=wrong", "", ""); status != http.StatusForbidden {
		t.Errorf("a wrong ticket: %d", status)
	}
	if status, cookie := send(t, s, http.MethodGet, "/console/enter?ticket="+ticket, "", ""); status != http.StatusSeeOther || cookie == "" {
		t.Errorf("the ticket: %d", status)
	}
	if status, _ := send(t, s, http.MethodGet, "/console/enter?ticket="+ticket, "", ""); status != http.StatusForbidden {
		t.Errorf("the ticket again: %d", status)
	}
	if newSessions(ticket, cfg.TicketUsed).redeem(ticket) {
		t.Error("a sidecar that came back takes the ticket again")
	}
	if newSessions("", cfg.TicketUsed).redeem("") {
		t.Error("without a ticket nothing opens")
	}
}

func TestForeignHostsAndOriginsAreRefused(t *testing.T) {
	s, _ := testConsole(t, "")
	for host, want := range map[string]int{
		"evil.example": 421, "127.0.0.1.evil.example:8002": 421, "localhost:9": 200, "[::1]:8002": 200, "192.0.2.1": 200, "pod.example:8443": 200,
	} {
		if status, _ := send(t, s, http.MethodGet, "/", "", "", "Host", host); status != want {
			t.Errorf("Host %s: %d, want %d", host, status, want)
		}
	}
	for _, headers := range [][]string{
		{"Origin", "http://evil.example"}, {"Origin", "null"}, {"Sec-Fetch-Site", "cross-site"}, {"Sec-Fetch-Site", "same-site"},
	} {
		if status, _ := send(t, s, http.MethodPost, "/console/api/login", `{"key":"`+adminKey+`"}`, "", headers...); status != http.StatusForbidden {
			t.Errorf("%v: %d", headers, status)
		}
	}
}

func TestTheRingHoldsTheLastHour(t *testing.T) {
	r := newRing()
	row := make([]float32, len(columns))
	for i := range ringSize + 5 {
		row[0] = float32(i)
		row[1] = float32(math.NaN())
		r.add(time.UnixMilli(int64(i)), row)
	}
	text := string(r.appendJSON(nil))
	if !strings.HasPrefix(text, "[[5,6,") || !strings.Contains(text, "],[5,6,7,") || !strings.Contains(text, "[null,null,") {
		t.Errorf("%.100s", text)
	}
}

func TestTheNewestLinesOfALogComeFirst(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.log")
	for _, n := range []int{0, 1, 3, 5000, 60000} {
		var text strings.Builder
		var want []string
		for i := range n {
			line := fmt.Sprintf("line %d %s", i, strings.Repeat("x", i%300))
			text.WriteString(line + "\n")
			want = append(want, line)
		}
		slices.Reverse(want)
		if err := os.WriteFile(path, []byte(text.String()+"torn"), 0o600); err != nil {
			t.Fatal(err)
		}
		var got []string
		if err := newestLines(path, func(line []byte) bool { got = append(got, string(line)); return true }); err != nil {
			t.Fatal(err)
		}
		if got[0] != "torn" {
			t.Fatalf("of %d lines the newest is %q", n, got[0])
		}
		got = got[1:]
		if whole := text.Len()+len("torn") <= maxTail; whole && len(got) != len(want) || len(got) > len(want) || !slices.Equal(got, want[:len(got)]) {
			t.Errorf("of %d lines %d came", n, len(got))
		} else if !whole && len(strings.Join(got, "\n")) < maxTail-2*tailPiece {
			t.Errorf("of a large log only %d lines came", len(got))
		}
		calls := 0
		if err := newestLines(path, func([]byte) bool { calls++; return calls < 2 }); err != nil || calls > 2 {
			t.Errorf("after enough it was called %d times, %v", calls, err)
		}
	}
	if err := newestLines(path+"none", nil); !os.IsNotExist(err) {
		t.Errorf("a log that is not there: %v", err)
	}
}

func TestQuantilesAreThoseOfPrometheus(t *testing.T) {
	var h histogram
	eachSeries([]byte("# HELP x\nx_bucket{a=\"q\\\"\",le=\"1\"} 2\nx_bucket{le=\"2\"} 8\nx_bucket{le=\"+Inf\"} 10\nx_sum 12\nother 3\nx_bucket{torn"),
		map[string]bool{"x_bucket": true, "x_sum": true}, func(s series) { h.add(strings.TrimPrefix(s.name, "x"), s) })
	for q, want := range map[float64]float64{0.1: 0.5, 0.5: 1.5, 0.95: 2} {
		if got := h.quantile(q); math.Abs(got-want) > 1e-9 {
			t.Errorf("quantile %g is %g, want %g", q, got, want)
		}
	}
	if d := h.since(&h); !math.IsNaN(d.quantile(0.5)) || !math.IsNaN(d.mean()) {
		t.Error("nothing new has a quantile")
	}
	if h.mean() != 1.2 {
		t.Errorf("the mean is %g", h.mean())
	}
}

func TestAPageThatDoesNotReadIsLetGo(t *testing.T) {
	h := newHub()
	page, _, ok := h.join()
	if !ok {
		t.Fatal("the first page was not let in")
	}
	for range pageQueue + 2 {
		h.tell(snapshot{values: make([]float32, len(columns))})
	}
	n := 0
	for range page {
		n++
	}
	if n != pageQueue || len(h.pages) != 0 {
		t.Errorf("it got %d events; %d pages are left", n, len(h.pages))
	}
	for range maxPages {
		h.join()
	}
	if _, _, ok := h.join(); ok {
		t.Error("there is no bound")
	}
}
