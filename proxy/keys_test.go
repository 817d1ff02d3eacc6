package proxy

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/semantic-pod/semantic/api"
	"github.com/semantic-pod/semantic/proxy/keys"
)

// ownKey is of a form that only tests use.
const ownKey = "a-key-of-our-own-making"

// withKeys gives the proxy a key file with the entries, for keys of any form.
func withKeys(t testing.TB, entries ...string) (path string, change func(*Config)) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "keys.yaml")
	writeKeys(t, path, entries...)
	return path, func(c *Config) { c.KeyFile, c.DefaultMaxTokens = path, 100 }
}

func writeKeys(t testing.TB, path string, entries ...string) {
	t.Helper()
	if err := os.WriteFile(path+".new", []byte("keys:\n"+strings.Join(entries, "")), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

func keyEntry(name, key string, more ...string) string {
	s := fmt.Sprintf("  - name: %s\n    tenant: acme\n    sha256: %x\n", name, sha256.Sum256([]byte(key)))
	for _, line := range more {
		s += "    " + line + "\n"
	}
	return s
}

func bearer(key string) string { return "Authorization: Bearer " + key }

func TestRequestWithoutAGoodKeyIsTurnedAway(t *testing.T) {
	_, change := withKeys(t, keyEntry("ci", ownKey),
		keyEntry("old", "the-expired-key-here", "expires: 2020-01-01"), keyEntry("gone", "the-revoked-key-here", "revoked: 2020-01-01T00:00:00Z"))
	h := start(t, ok, change)
	unknown, err := keys.Create(filepath.Join(t.TempDir(), "other.yaml"), keys.Entry{Name: "a", Tenant: "b"}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	for i, test := range []struct{ header, reason, says, code string }{
		{"X-None: 1", "missing", "an API key is needed", "missing_api_key"},
		{bearer(unknown[:len(unknown)-1] + "_"), "malformed", "checksum", "invalid_api_key"},
		{bearer("the-expired-key-here"), "expired", "has expired", "invalid_api_key"},
		{bearer(unknown), "unknown", "not known", "invalid_api_key"},
		{"x-api-key: the-revoked-key-here", "revoked", "was revoked", "invalid_api_key"},
	} {
		path := []string{"/v1/chat/completions", "/v1/messages"}[i%2]
		r := h.ask(postTo(path, "{}", test.header, "X-Request-ID: mine"))
		if r.status != 401 || !strings.Contains(r.body, test.says) || r.header.Get("WWW-Authenticate") != "Bearer" ||
			r.header.Get("X-Request-ID") != "mine" || r.header.Get("X-Response-Time") == "" {
			t.Errorf("%s: %d %v %s", test.header, r.status, r.header, r.body)
		}
		var e struct {
			Type  string
			Error struct{ Type, Code string }
		}
		if err := json.Unmarshal([]byte(r.body), &e); err != nil || e.Error.Type != "authentication_error" {
			t.Errorf("%s: %v %s", test.header, err, r.body)
		}
		if path == "/v1/messages" && e.Type != "error" || path != "/v1/messages" && e.Error.Code != test.code {
			t.Errorf("%s on %s: %s", test.header, path, r.body)
		}
		line := h.waitLines(i + 1)[i]
		if line["status"] != 401.0 || line["finish"] != "rejected" || line["auth"] != test.reason || line["request_id"] != "mine" {
			t.Errorf("log line %v", line)
		}
	}
	metrics := h.ask(get("/metrics")).body
	for reason, want := range map[string]float64{"missing": 1, "malformed": 1, "expired": 1, "revoked": 1, "unknown": 1} {
		if got := valueOf(metrics, `semantic_auth_failures_total{reason="`+reason+`"}`); got != want {
			t.Errorf("%s: counted %v, want %v", reason, got, want)
		}
	}
	if got := valueOf(metrics, `semantic_finish_total{class="rejected"}`); got != 5 {
		t.Errorf("%v rejected", got)
	}
	if got := valueOf(metrics, "semantic_keys_loaded"); got != 3 {
		t.Errorf("%v keys", got)
	}
	if n := len(h.engine.requests()); n != 0 {
		t.Errorf("%d requests reached the engine", n)
	}
}

func TestGoodKeyTellsTheEngineWhoAsks(t *testing.T) {
	_, change := withKeys(t, keyEntry("ci", ownKey))
	h := start(t, ok, change)
	for i, header := range []string{bearer(ownKey), "x-api-key: " + ownKey, "authorization: bearer " + ownKey} {
		if r := h.ask(post("{}", header, "Semantic-Tenant: other", "Semantic-Key: root", "Semantic-Token-Allowance: 9")); r.status != 200 {
			t.Fatalf("%s: %d %s", header, r.status, r.body)
		}
		k := h.engine.requests()[i]
		if got := k.header.Values(api.HeaderTenant); len(got) != 1 || got[0] != "acme" {
			t.Errorf("tenant %v", got)
		}
		if got := k.header.Values(api.HeaderKey); len(got) != 1 || got[0] != "ci" {
			t.Errorf("key %v", got)
		}
		if k.header.Get(api.HeaderAllowance) != "" || strings.Contains(k.raw, ownKey) {
			t.Errorf("to the engine went %s", k.raw)
		}
		if line := h.waitLines(i + 1)[i]; line["tenant"] != "acme" || line["key"] != "ci" {
			t.Errorf("log line %v", line)
		}
	}
	for _, path := range []string{"/health/live", "/health/ready", "/metrics", "/version"} {
		if r := h.ask(get(path)); r.status != 200 {
			t.Errorf("%s needs a key: %d", path, r.status)
		}
	}
	if r := h.ask(get("/v1/models")); r.status != 401 {
		t.Errorf("/v1/models needs none: %d", r.status)
	}
}

func TestBodyIsNotReadBeforeTheKeyIsChecked(t *testing.T) {
	_, change := withKeys(t, keyEntry("ci", ownKey))
	h := start(t, ok, change)
	c := h.dial()
	c.send("POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 500000\r\n\r\n{")
	if r := c.read(); r.status != 401 {
		t.Errorf("%d %s", r.status, r.body)
	}
}

func TestFailedLoginsOfAnAddressAreSlowedAndGoodOnesAreNot(t *testing.T) {
	_, change := withKeys(t, keyEntry("ci", ownKey))
	h := start(t, ok, change)
	began := time.Now()
	for range 5 {
		h.ask(post("{}"))
	}
	if took := time.Since(began); took > 800*time.Millisecond {
		t.Errorf("the first five took %v", took)
	}
	slow := make(chan reply, 1)
	held := time.Now()
	go func() { slow <- h.ask(post("{}")) }()
	time.Sleep(50 * time.Millisecond)
	if r := h.ask(post("{}", bearer(ownKey))); r.status != 200 || time.Since(held) > 500*time.Millisecond {
		t.Errorf("a good key waited: %d after %v", r.status, time.Since(held))
	}
	if r := <-slow; r.status != 401 || time.Since(held) < 500*time.Millisecond {
		t.Errorf("the sixth was answered after %v: %d", time.Since(held), r.status)
	}
	var wg sync.WaitGroup
	var refused atomic.Int32
	var gone []net.Conn
	for range 12 { // they are held for as long as their clients stay
		c := h.dial()
		gone = append(gone, c)
		wg.Go(func() {
			c.SetReadDeadline(time.Now().Add(500 * time.Millisecond))
			b, _ := io.ReadAll(c.in)
			if strings.HasPrefix(string(b), "HTTP/1.1 429") && strings.Contains(string(b), "Retry-After: ") {
				refused.Add(1)
			}
		})
		c.send(post("{}"))
	}
	wg.Wait()
	if refused.Load() < 5 {
		t.Errorf("%d of 12 more were refused at once", refused.Load())
	}
	for _, c := range gone {
		c.Close()
	}
	h.eventually("the end of all that were held, since their clients left", func() bool { return h.meters.inFlight.Load() == 0 })
	if h.metric(`semantic_rejected_total{reason="failed_logins"}`) < 5 {
		t.Error("the refusals were not counted")
	}
}

func TestReloadDropsNoRequestAndABadFileKeepsTheOldKeys(t *testing.T) {
	path, change := withKeys(t, keyEntry("ci", ownKey))
	h := start(t, ok, change)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		c := h.dial()
		for {
			select {
			case <-stop:
				return
			default:
			}
			c.send(post("{}", bearer(ownKey)))
			if r := c.read(); r.status != 200 {
				t.Errorf("during a reload: %d %s", r.status, r.body)
				return
			}
			time.Sleep(time.Millisecond)
		}
	})
	writeKeys(t, path, keyEntry("ci", ownKey), keyEntry("new", "another-key-entirely"))
	h.eventually("two keys", func() bool { return h.door.keys.Loaded() == 2 })
	if r := h.ask(post("{}", bearer("another-key-entirely"))); r.status != 200 {
		t.Errorf("the new key: %d", r.status)
	}
	writeKeys(t, path, "  - nonsense: 1\n")
	h.eventually("the refusal of the file", func() bool { return h.door.keys.Rejected() != nil })
	close(stop)
	wg.Wait()
	metrics := h.ask(get("/metrics")).body
	if valueOf(metrics, "semantic_key_file_rejected") != 1 || valueOf(metrics, "semantic_keys_loaded") != 2 {
		t.Error("the metrics do not tell of the bad file")
	}
	if valueOf(metrics, `semantic_key_limit_used_ratio{key="new"}`) != 0 {
		t.Error("the new key has no series")
	}
	h.tlog.Sync()
	log, _ := os.ReadFile(filepath.Join(h.logDir, "proxy.log"))
	if !strings.Contains(string(log), "the key file is refused") || !strings.Contains(string(log), "keys.yaml:2") {
		t.Error("the log does not tell of the bad file")
	}
}

func TestOtherMachinesNeedAKey(t *testing.T) {
	path, change := withKeys(t, keyEntry("ci", ownKey))
	c := testConfig(&standin{path: "x"})
	change(&c)
	c.Host, c.AllowRemote = "0.0.0.0", true
	if err := c.CheckKeys(); err != nil {
		t.Errorf("with a key: %v", err)
	}
	c.NoAuth = true
	if err := c.CheckKeys(); err == nil || !strings.Contains(err.Error(), "--insecure-no-auth contradicts") {
		t.Errorf("with a key and without authentication: %v", err)
	}
	c.NoAuth, c.KeyFile, c.KeyFileOptional = false, path+".none", true
	if err := c.CheckKeys(); err == nil || !strings.Contains(err.Error(), "--insecure-no-auth") {
		t.Errorf("without a key: %v", err)
	}
	c.APIKeys = "short"
	if err := c.CheckKeys(); err == nil || strings.Contains(err.Error(), "short,") {
		t.Errorf("with a short key: %v", err)
	}
}
