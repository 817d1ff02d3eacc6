package proxy

import (
	"bytes"
	"runtime"
	"strings"
	"testing"
	"time"
)

// TestSteadyPathLeavesNoGarbage counts what a forwarded request allocates in the whole
// process. One small object is fasthttp's, which drains every body that it streams;
// the poll of the engine's state beside it makes a fraction more.
func TestSteadyPathLeavesNoGarbage(t *testing.T) {
	const requests = 4000
	_, change := withKeys(t, keyEntry("ci", ownKey, "requests_per_second: 1000000", "burst: 100000", "tokens_per_minute: 1000000000000", "max_concurrent: 100"))
	h := startUnready(t, steadyEngine(t, steadyAnswer(200)), change)
	h.waitReady("")
	c := h.dial()
	c.SetDeadline(time.Now().Add(patience))
	request, buf := []byte(post(`{"max_tokens":20,"prompt":"`+strings.Repeat("y", 1000)+`"}`, bearer(ownKey))), make([]byte, 4096)
	ask := func(times int) {
		for range times {
			if _, err := c.Write(request); err != nil {
				t.Fatal(err)
			}
			for total := 0; !bytes.HasSuffix(buf[:total], []byte(`"end"}`)); {
				n, err := c.Conn.Read(buf[total:])
				if total += n; err != nil || !bytes.HasPrefix(buf, []byte("HTTP/1.1 200")) {
					t.Fatalf("answer %q: %v", buf[:total], err)
				}
			}
		}
	}
	ask(requests / 4) // buffers are made
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	ask(requests)
	runtime.ReadMemStats(&after)
	each := float64(after.Mallocs-before.Mallocs) / requests
	t.Logf("%.2f allocations of %.0f bytes a request", each, float64(after.TotalAlloc-before.TotalAlloc)/requests)
	if each > mostGarbage {
		t.Errorf("%.2f allocations a request, want %v at most", each, mostGarbage)
	}
}
