package proxy

import (
	"context"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/semantic-pod/semantic/api"
)

const (
	adminKey = "the-key-of-the-operator"
	otherKey = "the-key-that-replaces-it"
)

func order(method, path, body string, headers ...string) string {
	return strings.Replace(postTo(path, body, headers...), "POST ", method+" ", 1)
}

// Orders need an admin key, also where nobody else needs one.
func TestOrdersNeedAnAdminKey(t *testing.T) {
	_, withFile := withKeys(t, keyEntry("ci", ownKey), keyEntry("boss", "the-key-of-the-boss-here", "admin: true"))
	for _, test := range []struct {
		name   string
		change func(*Config)
		key    string
		want   int
		code   string
	}{
		{"no key anywhere", func(*Config) {}, "", 401, "missing_api_key"},
		{"no key anywhere, one guessed", func(*Config) {}, adminKey, 401, "invalid_api_key"},
		{"no key", withFile, "", 401, "missing_api_key"},
		{"a key for requests", withFile, ownKey, 403, "admin_key_needed"},
		{"an unknown key", withFile, adminKey, 401, "invalid_api_key"},
		{"an admin's of the file", withFile, "the-key-of-the-boss-here", 200, ""},
		{"that of --admin-key", func(c *Config) { c.AdminKey = adminKey }, adminKey, 200, ""},
		{"not that of --admin-key", func(c *Config) { c.AdminKey = adminKey }, adminKey + "x", 401, "invalid_api_key"},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := start(t, ok, test.change)
			for _, request := range []string{
				order("POST", "/admin/keys/reload", "", bearer(test.key)),
				order("POST", "/admin/model/swap", `{"model":"m"}`, bearer(test.key)),
				order("GET", "/admin/model", "", "x-api-key: "+test.key),
				order("DELETE", "/admin/drain", "", "x-api-key: "+test.key),
			} {
				if r := h.ask(request); r.status != test.want || test.code != "" && !strings.Contains(r.body, test.code) || r.header.Get("X-Request-ID") == "" {
					t.Errorf("%.40q: %d %s", request, r.status, r.body)
				}
			}
			if n := len(h.engine.requests()); test.want != 200 && n != 0 {
				t.Errorf("%d orders reached the engine", n)
			}
		})
	}
}

func TestOrdersToTheEngineReachItWhateverItsState(t *testing.T) {
	_, change := withKeys(t, keyEntry("boss", ownKey, "admin: true", "requests_per_second: 0.001", "max_concurrent: 1"))
	h := start(t, ok, change, func(c *Config) { c.MaxInFlight = 1 })
	h.engine.state.Store(&api.EngineState{Boot: "boot-1", Phase: api.PhaseOffloaded})
	h.waitReady(reasonOffloaded)
	for i, test := range []struct{ method, path, body string }{
		{"POST", "/admin/model/load", ""}, {"POST", "/admin/model/swap", `{"model":"other.gguf"}`},
		{"PUT", "/admin/model", `{"a":1}`}, {"POST", "/admin/cache/flush", ""}, {"DELETE", "/admin/cache", ""}, {"GET", "/admin/model", ""},
	} {
		if r := h.ask(order(test.method, test.path+"?q=1", test.body, bearer(ownKey))); r.status != 200 {
			t.Errorf("%s %s: %d %s", test.method, test.path, r.status, r.body)
		}
		k := h.engine.requests()[i]
		if k.method != test.method || k.target != test.path || string(k.body) != test.body || strings.Contains(k.raw, ownKey) {
			t.Errorf("the engine got %q %q", k.raw, k.body)
		}
	}
	if r := h.ask(post("{}", bearer(ownKey))); r.status != 429 && r.status != 503 {
		t.Errorf("a request to an offloaded model: %d", r.status)
	}
	for _, path := range []string{"/admin", "/admin/", "/admin/model/", "/admin/model/a/b", "/admin/model/..", "/admin/other", "/admin/keys"} {
		if r := h.ask(order("POST", path, "", bearer(ownKey))); r.status != 404 {
			t.Errorf("%s: %d", path, r.status)
		}
	}
	h.engine.kill()
	h.waitReady(reasonUnreachable)
	if r := h.ask(order("POST", "/admin/model/load", "", bearer(ownKey))); r.status != 503 || !strings.Contains(r.body, "engine_unreachable") {
		t.Errorf("without an engine: %d %s", r.status, r.body)
	}
}

func TestKeyFileIsReadAtOnceWhenAnAdminSaysSo(t *testing.T) {
	path, change := withKeys(t, keyEntry("ci", ownKey))
	h := start(t, ok, change, func(c *Config) { c.AdminKey = adminKey })
	writeKeys(t, path, keyEntry("ci", ownKey), keyEntry("new", "another-key-entirely"))
	if r := h.ask(order("POST", "/admin/keys/reload", "", bearer(adminKey))); r.status != 200 || r.body != `{"keys":2}` {
		t.Errorf("%d %s", r.status, r.body)
	}
	writeKeys(t, path, "  - nonsense: 1\n")
	if r := h.ask(order("POST", "/admin/keys/reload", "", bearer(adminKey))); r.status != 422 || !strings.Contains(r.body, "keys.yaml:2") {
		t.Errorf("%d %s", r.status, r.body)
	}
	if r := h.ask(post("{}", bearer("another-key-entirely"))); r.status != 200 {
		t.Errorf("a key that was there before the bad file: %d", r.status)
	}
}

func TestAdminTakesThePodOutOfTheLoadBalancerAndBack(t *testing.T) {
	h := start(t, ok, func(c *Config) { c.AdminKey = adminKey })
	if r := h.ask(order("POST", "/admin/drain", "", bearer(adminKey))); r.body != `{"draining":true,"in_flight":0}` {
		t.Errorf("%d %s", r.status, r.body)
	}
	if r := h.ask(get("/health/ready")); r.status != 503 || !strings.Contains(r.body, "shutting_down") {
		t.Errorf("ready: %d %s", r.status, r.body)
	}
	if r := h.ask(post("{}")); r.status != 200 || !r.close {
		t.Errorf("a request that comes all the same: %d, closing %v", r.status, r.close)
	}
	if r := h.ask(order("DELETE", "/admin/drain", "", bearer(adminKey))); r.body != `{"draining":false,"in_flight":0}` {
		t.Errorf("%d %s", r.status, r.body)
	}
	if r := h.ask(get("/health/ready")); r.status != 200 || r.close {
		t.Errorf("ready: %d %s, closing %v", r.status, r.body, r.close)
	}
}

func TestAdminKeyFileIsReadAgainWhenItChanges(t *testing.T) {
	path := filepath.Join(t.TempDir(), "admin")
	write := func(key string) {
		if err := os.WriteFile(path+".new", []byte(key+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
	}
	write(adminKey)
	h := start(t, ok, func(c *Config) { c.AdminKeyFile = path })
	state := func(key string) int { return h.ask(order("GET", "/admin/drain", "", bearer(key))).status }
	if state(adminKey) != 200 {
		t.Fatal("the file's key is not good")
	}
	write("short")
	write(otherKey)
	h.eventually("the new key", func() bool { d := h.door.admin.Load(); return d.Is([]byte(otherKey)) })
	if state(otherKey) != 200 || state(adminKey) != 401 {
		t.Error("the keys were not exchanged")
	}
	h.close()

	write("short")
	if _, err := New(h.cfg, h.tlog); err == nil || !strings.Contains(err.Error(), "--admin-key-file") || strings.Contains(err.Error(), "short\n") {
		t.Errorf("a key that is too short: %v", err)
	}
}

func TestSocketTellsAdminKeysFromOthers(t *testing.T) {
	const admin = "an-admin-key-of-the-test-0123456789"
	path := shortDir(t) + "/proxy.sock"
	start(t, ok, func(c *Config) {
		c.Socket, c.AdminKey, c.APIKeys = path, admin, "user:a-plain-key-of-the-test-0123456789"
	})
	client := http.Client{Timeout: patience, Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", path)
	}}}
	defer client.CloseIdleConnections()
	for presented, want := range map[string]int{
		"Bearer " + admin: 204, "": 401, admin: 401, "Bearer ": 401, "Bearer x": 401,
		"Bearer a-plain-key-of-the-test-0123456789": 401,
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://proxy"+api.PathAdmin, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", presented)
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("%q: %d, want %d", presented, resp.StatusCode, want)
		}
	}
}
