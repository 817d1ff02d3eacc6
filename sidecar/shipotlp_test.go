package sidecar

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.opentelemetry.io/proto/otlp/collector/logs/v1"
	"go.uber.org/zap"
	"google.golang.org/protobuf/proto"

	"github.com/semantic-pod/semantic/logchain"
	"github.com/semantic-pod/semantic/telemetry"
)

// playShipper is a sidecar that rotates and keeps little, and sends lines.
func playShipper(dir, to string) {
	log, err := telemetry.OpenLog(telemetry.LogConfig{Process: "sidecar", Stderr: os.Stderr, Level: "warn"})
	must(err)
	cfg := testConfig(dir)
	cfg.RotateBytes, cfg.Keep, cfg.ShipOTLP, cfg.CheckInterval = 16<<10, 2, to, minCheckInterval
	s, err := New(cfg, log)
	must(err)
	must(s.Start())
	select {}
}

// A line arrives with all that it says, in OTLP's own fields where there are some.
func TestLinesAreWhatTheySay(t *testing.T) {
	c := newCollector(t)
	c.start()
	cfg := testConfig(t.TempDir())
	cfg.ShipOTLP = c.url()
	log := openLog(t, cfg.LogDir, "proxy")
	log.Zap().Warn("request", zap.String("trace_id", "0af7651916cd43dd8448eb211c80319c"), zap.String("span_id", "b7ad6b7169203331"),
		zap.Int("status", 503), zap.Float64("duration_ms", 12.5), zap.Bool("stream", true))
	if err := log.Sync(); err != nil {
		t.Fatal(err)
	}
	write(t, cfg.LogDir, "other.log", "no JSON \xff\n")
	s := startTest(t, cfg)
	var list []taken
	within(t, time.Minute, "two lines come", func() bool { list = c.all(); return len(list) >= 2 })
	for _, l := range list {
		if l.Process == "other" {
			if l.Body != "no JSON \uFFFD" {
				t.Errorf("%+v", l)
			}
			continue
		}
		if l.Process != "proxy" || l.Body != "request" || l.Severity != "warn" || l.TraceID != "0af7651916cd43dd8448eb211c80319c" || l.SpanID != "b7ad6b7169203331" ||
			l.Boot != log.Boot() || l.Seq != 1 || time.Since(l.At) > time.Hour ||
			l.Attributes["status"] != 503 || l.Attributes["duration_ms"] != 12.5 || l.Attributes["stream"] != true {
			t.Errorf("%+v", l)
		}
	}
	eventually(t, "it is counted", func() bool { return gauge(t, s, "semantic_log_lines_shipped_total") == "2" })
	eventually(t, "nothing lags", func() bool { return gauge(t, s, `semantic_log_ship_lag_seconds{to="otlp"}`) == "0" })
	if got := gauge(t, s, `semantic_log_ship_lag_seconds{to="object_store"}`); got != "NaN" {
		t.Errorf("lag of a store that there is not: %s", got)
	}
}

// receiver is one whose answers a test chooses; what it takes it keeps.
type receiver struct {
	*httptest.Server
	answer atomic.Pointer[func(w http.ResponseWriter, bodies []string) bool] // nil: takes all

	mu     sync.Mutex
	bodies []string
}

const receiverHeaders = "OTEL_EXPORTER_OTLP_LOGS_HEADERS"

func newReceiver(t testing.TB) *receiver {
	r := serveReceiver()
	t.Cleanup(func() {
		r.CloseClientConnections()
		r.Close()
	})
	t.Setenv(receiverHeaders, "authorization=Bearer%20s%2Ct")
	return r
}

// serveReceiver starts one that wants the header which newReceiver sets.
func serveReceiver() *receiver {
	r := &receiver{}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, err := io.ReadAll(req.Body)
		var export v1.ExportLogsServiceRequest
		if err != nil || proto.Unmarshal(body, &export) != nil || req.Header.Get("Authorization") != "Bearer s,t" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		var bodies []string // none of a call that only tries whether lines are taken
		for _, resource := range export.ResourceLogs {
			for _, l := range resource.ScopeLogs[0].LogRecords {
				bodies = append(bodies, l.Body.GetStringValue())
			}
		}
		if f := r.answer.Load(); f != nil && !(*f)(w, bodies) {
			return
		}
		r.mu.Lock()
		r.bodies = append(r.bodies, bodies...)
		r.mu.Unlock()
	}))
	return r
}

func (r *receiver) list() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.bodies)
}

func (r *receiver) taken() string { return strings.Join(r.list(), " ") }

// A line that the receiver refuses is left out and counted, and holds up no other.
func TestRefusedLineHoldsUpNoOther(t *testing.T) {
	r := newReceiver(t)
	refuse := func(w http.ResponseWriter, bodies []string) bool {
		if strings.Contains(strings.Join(bodies, " "), "bad") {
			http.Error(w, "bad line", http.StatusBadRequest)
			return false
		}
		return true
	}
	r.answer.Store(&refuse)
	cfg := testConfig(t.TempDir())
	cfg.ShipOTLP = r.URL
	write(t, cfg.LogDir, "proxy.log", "a\nb\nbad\nc\nd\ne\nbad\n")
	s := startTest(t, cfg)
	eventually(t, "the good ones are taken", func() bool { return r.taken() == "a b c d e" })
	eventually(t, "the bad ones are counted", func() bool {
		return gauge(t, s, `semantic_log_lines_unshipped_total{reason="refused"}`) == "2" && gauge(t, s, "semantic_log_lines_shipped_total") == "5"
	})
}

// While the receiver is busy, or the sidecar not set up for it, nothing is given up, the
// lag grows, and retention waits; a full disk does not, and says what it took.
func TestWhatIsNotTakenWaits(t *testing.T) {
	r := newReceiver(t)
	busy := func(w http.ResponseWriter, _ []string) bool {
		w.Header().Set("Retry-After", "1")
		w.WriteHeader(http.StatusServiceUnavailable)
		return false
	}
	r.answer.Store(&busy)
	cfg := testConfig(t.TempDir())
	cfg.ShipOTLP, cfg.Keep, cfg.RetainErrors = r.URL+"/v1/logs", 1, 0
	write(t, cfg.LogDir, "proxy.log", "a\n")
	s := startTest(t, cfg)
	dutySays(t, s, "log_ship_otlp", "503")
	for i, text := range []string{"b\n", "c\n", "d\n"} {
		if err := os.Rename(filepath.Join(cfg.LogDir, "proxy.log"), filepath.Join(cfg.LogDir, "proxy.log."+logchain.Stamp(time.Now()))); err != nil {
			t.Fatal(err)
		}
		write(t, cfg.LogDir, "proxy.log", text)
		eventually(t, "it is archived", func() bool {
			list, _ := filepath.Glob(filepath.Join(cfg.LogDir, "*.zst"))
			return len(list) == i+1
		})
	}
	eventually(t, "the lag grows", func() bool {
		lag, err := strconv.ParseFloat(gauge(t, s, `semantic_log_ship_lag_seconds{to="otlp"}`), 64)
		return err == nil && lag > 1
	})
	if got := r.taken(); got != "" {
		t.Errorf("%q was taken", got)
	}
	r.answer.Store(nil)
	within(t, time.Minute, "all is taken in order", func() bool { return r.taken() == "a b c d" })
	eventually(t, "retention goes on", func() bool {
		list, _ := filepath.Glob(filepath.Join(cfg.LogDir, "*.zst"))
		return len(list) == 1
	})
	if got := gauge(t, s, `semantic_log_lines_unshipped_total{reason="removed"}`); got != "0" {
		t.Errorf("%s lines were removed", got)
	}
}

// Of what a cursor says nothing is sent twice; one that cannot be read, or is gone, has
// all sent again.
func TestCursorSaysWhereToGoOn(t *testing.T) {
	r := newReceiver(t)
	cfg := testConfig(t.TempDir())
	cfg.ShipOTLP = r.URL
	old := logchain.Stamp(time.Now().Add(-time.Hour))
	write(t, cfg.LogDir, "proxy.log."+old, "z\n")
	write(t, cfg.LogDir, "proxy.log", "a\n")
	again := func(want string) {
		t.Helper()
		s := startTest(t, cfg)
		eventually(t, want+" is taken", func() bool { return r.taken() == want })
		stop(t, s)
	}
	again("z a")
	again("z a")
	rename := func(text string) {
		t.Helper()
		if err := os.Rename(filepath.Join(cfg.LogDir, "proxy.log"), filepath.Join(cfg.LogDir, "proxy.log."+logchain.Stamp(time.Now()))); err != nil {
			t.Fatal(err)
		}
		write(t, cfg.LogDir, "proxy.log", text)
	}
	appendTo(t, filepath.Join(cfg.LogDir, "proxy.log"), "b\n")
	rename("c\n")
	rename("d\n")
	again("z a b c d")
	write(t, cfg.LogDir, cursorName, "{")
	again("z a b c d z a b c d")
	r.mu.Lock()
	r.bodies = nil
	r.mu.Unlock()
	if err := os.Remove(filepath.Join(cfg.LogDir, cursorName)); err != nil {
		t.Fatal(err)
	}
	again("z a b c d")
}

// The positions of a tail go through everything that becomes of a file: each line is
// given once, wherever the reading is begun anew.
func TestTailGoesOnFromAnyPosition(t *testing.T) {
	dir := t.TempDir()
	var all []string
	stamp := ""
	for n := range 4 {
		var text bytes.Buffer
		for i := range 50 {
			line := fmt.Sprintf(`{"file":%d,"line":%d}`+"\n", n, i)
			all = append(all, line)
			text.WriteString(line)
		}
		stamp = logchain.NextStamp(stamp, time.Now().Add(time.Duration(n-9)*time.Hour))
		name := "proxy.log." + stamp
		if n == 3 {
			name = "proxy.log"
		}
		write(t, dir, name, text.String())
	}
	gap := func(position, string) { t.Error("a gap") }
	positions := []position{{}}
	first := tail{dir: dir, log: "proxy.log", gap: gap}
	for {
		lines, after, err := first.lines()
		if err != nil {
			t.Fatal(err)
		}
		if len(lines) == 0 {
			break
		}
		mid := after
		mid.Offset -= int64(len(lines[len(lines)-1]))
		positions = append(positions, mid, after)
	}
	first.close()
	check := func(how string) {
		t.Helper()
		for i, p := range positions {
			rest := tail{dir: dir, log: "proxy.log", next: p, gap: gap}
			var got []string
			for {
				lines, _, err := rest.lines()
				if err != nil {
					t.Fatal(err)
				}
				if len(lines) == 0 {
					break
				}
				for _, l := range lines {
					got = append(got, string(l))
				}
			}
			rest.close()
			given := 0
			if i > 0 {
				given = (i+1)/2*50 - i%2
			}
			if want := all[given:]; strings.Join(got, "") != strings.Join(want, "") {
				t.Errorf("%s, position %d: %d lines, want %d", how, i, len(got), len(want))
			}
		}
	}
	check("as they were written")
	s := startTest(t, testConfig(dir))
	eventually(t, "they are compressed", func() bool {
		list, _ := filepath.Glob(filepath.Join(dir, "*.zst"))
		return len(list) == 3
	})
	stop(t, s)
	check("compressed")
}

func appendTo(t testing.TB, path, text string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString(text); err != nil {
		t.Fatal(err)
	}
}
