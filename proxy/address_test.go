package proxy

import (
	"net"
	"net/netip"
	"strings"
	"testing"
)

func TestForwardedAddressIsBelievedOfTrustedProxiesAlone(t *testing.T) {
	for _, test := range []struct {
		name, trusted string
		headers       []string
		want          string
	}{
		{"nobody is trusted", "", []string{"X-Forwarded-For: 198.51.100.7"}, "127.0.0.1"},
		{"another is trusted", "10.0.0.0/8", []string{"X-Forwarded-For: 198.51.100.7"}, "127.0.0.1"},
		{"trusted", "127.0.0.0/8", []string{"X-Forwarded-For: 198.51.100.7"}, "198.51.100.7"},
		{"trusted, without the header", "127.0.0.1", nil, "127.0.0.1"},
		{"what the client wrote itself stands to the left", "127.0.0.1", []string{"X-Forwarded-For: 1.1.1.1, 198.51.100.7"}, "198.51.100.7"},
		{"in a line of its own too", "127.0.0.1", []string{"X-Forwarded-For: 1.1.1.1", "x-forwarded-for:198.51.100.7 "}, "198.51.100.7"},
		{"two proxies", "127.0.0.1,10.0.0.0/8", []string{"X-Forwarded-For: 1.1.1.1, 198.51.100.7, 10.1.2.3"}, "198.51.100.7"},
		{"all are proxies", "127.0.0.1,10.0.0.0/8", []string{"X-Forwarded-For: 10.9.9.9, 10.1.2.3"}, "10.9.9.9"},
		{"nonsense behind an address", "127.0.0.1,10.0.0.0/8", []string{"X-Forwarded-For: 1.1.1.1, unknown, 10.1.2.3"}, "10.1.2.3"},
		{"IPv6", "127.0.0.1", []string{"X-Forwarded-For: 2001:db8::1"}, "2001:db8::1"},
		{"empty items", "127.0.0.1", []string{"X-Forwarded-For: ,"}, "127.0.0.1"},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := start(t, ok, func(c *Config) { c.TrustedProxies = test.trusted })
			h.ask(get("/v1/models", test.headers...))
			if got := h.waitLines(1)[0]["client"]; got != test.want {
				t.Errorf("the client is %v, want %s", got, test.want)
			}
			if raw := h.engine.requests()[0].raw; strings.Contains(strings.ToLower(raw), "forwarded") {
				t.Errorf("the engine got %s", raw)
			}
		})
	}
}

func TestAddressesAreScreened(t *testing.T) {
	for _, test := range []struct {
		allow, deny, from string
		want              int
	}{
		{"", "", "198.51.100.7", 200},
		{"198.51.100.0/24", "", "198.51.100.7", 200},
		{"198.51.100.0/24,127.0.0.1", "", "203.0.113.1", 403},
		{"", "203.0.113.0/24", "203.0.113.1", 403},
		{"203.0.113.0/24", "203.0.113.1", "203.0.113.1", 403},
		{"203.0.113.0/24", "203.0.113.1", "203.0.113.2", 200},
		{"2001:db8::/32", "", "2001:db8::5", 200},
	} {
		h := start(t, ok, func(c *Config) { c.AllowClients, c.DenyClients, c.TrustedProxies = test.allow, test.deny, "127.0.0.1" })
		r := h.ask(get("/v1/models", "X-Forwarded-For: "+test.from))
		if r.status != test.want || r.header.Get("X-Request-ID") == "" || test.want == 403 && !strings.Contains(r.body, "address_denied") {
			t.Errorf("%+v: %d %s", test, r.status, r.body)
		}
		if r := h.ask(get("/health/ready", "X-Forwarded-For: "+test.from)); r.status != 200 {
			t.Errorf("a probe: %d", r.status)
		}
		if test.want == 403 && (h.metric(`semantic_rejected_total{reason="address"}`) != 1 || len(h.engine.requests()) != 0) {
			t.Error("the refusal was not counted, or the engine got the request")
		}
	}
}

func TestConnectionsOfOneAddressAreBounded(t *testing.T) {
	h := start(t, ok, func(c *Config) { c.MaxConnectionsPerAddress = 3 })
	var open []*client
	for range 3 {
		c := h.dial()
		c.send(get("/health/live"))
		c.read()
		open = append(open, c)
	}
	c := h.dial()
	if r := c.read(); r.status != 503 || !strings.Contains(r.body, "--max-connections-per-address") || r.header.Get("X-Request-ID") == "" {
		t.Errorf("the fourth: %d %s", r.status, r.body)
	}
	open[0].Close()
	h.eventually("a free place", func() bool { return h.conns.count() == 2 })
	if r := h.ask(get("/v1/models")); r.status != 200 {
		t.Errorf("in a place that is free again: %d", r.status)
	}
	open[1].send(get("/metrics"))
	if text := open[1].read().body; valueOf(text, `semantic_rejected_total{reason="max_connections_per_address"}`) != 1 {
		t.Error("the refusal is not counted")
	}
	for _, c := range open {
		c.Close()
	}
	h.eventually("no address to be counted", func() bool {
		h.conns.mu.Lock()
		defer h.conns.mu.Unlock()
		return len(h.conns.from) == 0
	})
}

func TestConnectionsOfATrustedProxyAreNotCounted(t *testing.T) {
	h := start(t, ok, func(c *Config) { c.MaxConnectionsPerAddress, c.TrustedProxies = 1, "127.0.0.1" })
	for range 5 {
		c := h.dial()
		c.send(get("/health/live"))
		if r := c.read(); r.status != 200 {
			t.Fatalf("%d", r.status)
		}
	}
}

func TestBadNetworksAndOriginsAreNamed(t *testing.T) {
	for flag, change := range map[string]func(*Config){
		"--allow-clients: \"10.0.0\"":     func(c *Config) { c.AllowClients = "10.0.0" },
		"--deny-clients: \"10.0.0.0/33\"": func(c *Config) { c.DenyClients = "::1, 10.0.0.0/33" },
		"--trusted-proxies: \"ingress\"":  func(c *Config) { c.TrustedProxies = "ingress" },
		"--cors-origins: \"example.org\"": func(c *Config) { c.CORSOrigins = "example.org" },
		"--cors-origins: * means":         func(c *Config) { c.CORSOrigins = "*,https://a.example" },
		"--max-connections-per-address":   func(c *Config) { c.MaxConnectionsPerAddress = -1 },
	} {
		c := testConfig(&standin{path: "x"})
		change(&c)
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), flag) {
			t.Errorf("%s: %v", flag, err)
		}
	}
}

func TestOriginOfAPeerWithoutAnAddress(t *testing.T) {
	a := addresses{trusted: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}
	if got := a.origin(netip.Addr{}, []byte("X-Forwarded-For: 1.2.3.4\r\n")); got.IsValid() {
		t.Errorf("believed %v of %v", got, net.IP(nil))
	}
}
