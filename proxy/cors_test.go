package proxy

import (
	"strings"
	"testing"
)

const app = "https://app.example.org"

func preflight(path, origin string) string {
	return strings.Replace(get(path, "Origin: "+origin, "Access-Control-Request-Method: POST",
		"Access-Control-Request-Headers: authorization,content-type"), "GET", "OPTIONS", 1)
}

func TestScriptsOfOtherSitesMayNotCallUnlessTheyAreNamed(t *testing.T) {
	const path = "/v1/chat/completions"
	for _, test := range []struct {
		name, origins, path, origin, want string
		preflight                         int
	}{
		{"off", "", path, app, "", 405},
		{"named", app + ", http://localhost:3000", path, app, app, 204},
		{"the other one", app + ", http://localhost:3000", path, "http://localhost:3000", "http://localhost:3000", 204},
		{"not named", app, path, "https://evil.example", "", 405},
		{"a part of the name", app, path, app + ".evil.example", "", 405},
		{"null", app, path, "null", "", 405},
		{"every", "*", path, "https://evil.example", "*", 204},
		{"orders", "*", "/admin/drain", "https://evil.example", "", 405},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, change := withKeys(t, keyEntry("ci", ownKey))
			h := start(t, ok, change, func(c *Config) { c.CORSOrigins = test.origins })
			r := h.ask(preflight(test.path, test.origin))
			if r.status != test.preflight || r.header.Get("Access-Control-Allow-Origin") != test.want || r.header.Get("X-Request-ID") == "" {
				t.Errorf("preflight: %d %v", r.status, r.header)
			}
			if test.want != "" && (r.header.Get("Access-Control-Allow-Methods") != "POST" ||
				r.header.Get("Access-Control-Allow-Headers") != "authorization,content-type" || r.header.Get("Access-Control-Allow-Credentials") != "") {
				t.Errorf("preflight: %v", r.header)
			}
			for _, key := range []string{ownKey, "wrong"} { // a script may read why it was refused
				r := h.ask(postTo(test.path, "{}", "Origin: "+test.origin, bearer(key)))
				if got := r.header.Get("Access-Control-Allow-Origin"); got != test.want {
					t.Errorf("%d: allows %q", r.status, got)
				}
				if test.want != "" && (!strings.Contains(r.header.Get("Access-Control-Expose-Headers"), "X-Request-ID") || r.header.Get("Vary") != "Origin") {
					t.Errorf("%d: %v", r.status, r.header)
				}
			}
		})
	}
}
