package proxy

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"testing"
	"time"
)

// A stranger whose refusal is being held back is refused as one when the drain ends
// the wait: it is no answer to him that the server is shutting down.
func TestAStrangerWhoWaitsAtTheDrainIsRefusedAsOne(t *testing.T) {
	for name, request := range bothWays {
		t.Run(name, func(t *testing.T) {
			_, change := withKeys(t, keyEntry("ci", ownKey))
			h := start(t, ok, change, func(c *Config) { c.DrainTimeout = 100 * time.Millisecond })
			for range 8 { // the next one waits for seconds
				c := h.dial()
				defer c.Close()
				c.send(request)
			}
			h.eventually("some to wait", func() bool { return h.meters.inFlight.Load() > 0 })
			c := h.dial()
			c.send(request)
			h.eventually("all to have come", func() bool { return h.meters.authFailures["missing"].Get() == 9 })
			result := h.stopping(context.Background())
			r := c.read()
			if r.status != http.StatusUnauthorized || r.header.Get("WWW-Authenticate") == "" || r.header.Get("X-Request-ID") == "" {
				t.Errorf("%d %s", r.status, r.body)
			}
			if err := <-result; err != nil {
				t.Error(err)
			}
			if rejected, drained := h.meters.finishes["rejected"].Get(), h.meters.finishes["drained"].Get(); rejected != 9 || drained != 0 {
				t.Errorf("%d rejected, %d drained", rejected, drained)
			}
		})
	}
}

// A client that is still sending a large body when it is refused reads the refusal,
// and no reset of its connection.
func TestAClientThatStillSendsReadsTheRefusal(t *testing.T) {
	_, change := withKeys(t, keyEntry("ci", ownKey))
	h := start(t, ok, change)
	body := bytes.Repeat([]byte("x"), 8<<20)
	for range 5 {
		client := http.Client{Transport: &http.Transport{}, Timeout: 6 * patience}
		resp, err := client.Post("http://"+h.addr+"/v1/chat/completions", "application/json", bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		said, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != http.StatusUnauthorized || !bytes.Contains(said, []byte("missing_api_key")) {
			t.Errorf("%d %s %v", resp.StatusCode, said, err)
		}
		client.CloseIdleConnections()
	}
}
