package proxy

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/semantic-pod/semantic/api"
	"github.com/semantic-pod/semantic/proxy/limit"
)

// signer issues tokens for a test.
type signer struct {
	t   testing.TB
	id  string
	key *ecdsa.PrivateKey
}

func newSigner(t testing.TB, id string) *signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return &signer{t, id, key}
}

// jwk is the signer's public key as a member of a key set.
func (s *signer) jwk() string {
	point, err := s.key.PublicKey.Bytes() // 4, x, y
	if err != nil {
		s.t.Fatal(err)
	}
	part := func(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }
	return fmt.Sprintf(`{"kty":"EC","crv":"P-256","alg":"ES256","use":"sig","kid":%q,"x":%q,"y":%q}`, s.id, part(point[1:33]), part(point[33:]))
}

func keySetOf(signers ...*signer) string {
	var all []string
	for _, s := range signers {
		all = append(all, s.jwk())
	}
	return `{"keys":[` + strings.Join(all, ",") + `]}`
}

func (s *signer) token(change ...func(jwt.MapClaims)) string {
	s.t.Helper()
	claims := jwt.MapClaims{"iss": "https://login.example", "aud": "semantic", "sub": "alice", "tenant": "acme", "exp": time.Now().Add(time.Hour).Unix()}
	for _, f := range change {
		f(claims)
	}
	token := jwt.NewWithClaims(jwt.SigningMethodES256, claims)
	token.Header["kid"] = s.id
	text, err := token.SignedString(s.key)
	if err != nil {
		s.t.Fatal(err)
	}
	return text
}

func withTokens(keys string) func(*Config) {
	return func(c *Config) {
		c.JWTKeys, c.JWTIssuer, c.JWTAudience, c.JWTTenantClaim, c.JWTLimitsClaim = keys, "https://login.example", "semantic", "tenant", "limits"
		c.DefaultMaxTokens = 100
	}
}

func claim(name string, value any) func(jwt.MapClaims) {
	return func(c jwt.MapClaims) {
		if value == nil {
			delete(c, name)
		} else {
			c[name] = value
		}
	}
}

func TestTokenStandsForAKey(t *testing.T) {
	s, other := newSigner(t, "k1"), newSigner(t, "k1")
	file := filepath.Join(t.TempDir(), "jwks.json")
	if err := os.WriteFile(file, []byte(keySetOf(s)), 0o600); err != nil {
		t.Fatal(err)
	}
	_, change := withKeys(t, keyEntry("ci", ownKey))
	h := start(t, ok, change, withTokens(file), func(c *Config) { c.IssuedTokensPerMinute = 7000 })
	unsigned, err := jwt.NewWithClaims(jwt.SigningMethodNone, jwt.MapClaims{"tenant": "acme"}).SignedString(jwt.UnsafeAllowNoneSignatureType)
	if err != nil {
		t.Fatal(err)
	}
	symmetric := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{"iss": "https://login.example", "aud": "semantic", "tenant": "acme", "exp": time.Now().Add(time.Hour).Unix()})
	symmetric.Header["kid"] = "k1"
	confused, err := symmetric.SignedString([]byte(s.jwk()))
	if err != nil {
		t.Fatal(err)
	}
	good := s.token()
	for i, test := range []struct {
		name, token string
		want        int
		reason, key string
		tokens      string // the limit of tokens a minute
	}{
		{"good", good, 200, "", "jwt:alice", "7000"},
		{"good again, remembered", good, 200, "", "jwt:alice", "7000"},
		{"an API key", ownKey, 200, "", "ci", ""},
		{"with limits", s.token(claim("sub", "bob"), claim("limits", map[string]any{"tokens_per_minute": 900, "max_concurrent": 2})), 200, "", "jwt:bob", "900"},
		{"an odd subject", s.token(claim("sub", "auth0|12 3")), 200, "", "jwt:", "7000"},
		{"audience in a list", s.token(claim("aud", []string{"x", "semantic"})), 200, "", "jwt:alice", "7000"},
		{"expired", s.token(claim("exp", time.Now().Add(-time.Hour).Unix())), 401, "expired", "", ""},
		{"without an end", s.token(claim("exp", nil)), 401, "untrusted", "", ""},
		{"not yet", s.token(claim("nbf", time.Now().Add(time.Hour).Unix())), 401, "untrusted", "", ""},
		{"another issuer", s.token(claim("iss", "https://evil.example")), 401, "untrusted", "", ""},
		{"another audience", s.token(claim("aud", "mail")), 401, "untrusted", "", ""},
		{"no tenant", s.token(claim("tenant", nil)), 401, "no_tenant", "", ""},
		{"a tenant that is none", s.token(claim("tenant", "a\r\nb")), 401, "no_tenant", "", ""},
		{"a tenant that is a number", s.token(claim("tenant", 5)), 401, "no_tenant", "", ""},
		{"limits that are none", s.token(claim("limits", map[string]any{"tokens": 5})), 401, "untrusted", "", ""},
		{"limits out of range", s.token(claim("limits", map[string]any{"burst": -5})), 401, "untrusted", "", ""},
		{"another's signature", other.token(), 401, "untrusted", "", ""},
		{"no signature", unsigned, 401, "untrusted", "", ""},
		{"signed with the public key", confused, 401, "untrusted", "", ""},
		{"changed", good[:len(good)-6] + "AAAAAA", 401, "untrusted", "", ""},
	} {
		r := h.ask(post("{}", bearer(test.token)))
		line := h.waitLines(i + 1)[i]
		if test.want == 401 {
			if r.status != 401 && r.status != 429 || line["auth"] != test.reason || strings.Contains(r.body, test.token) {
				t.Errorf("%s: %d %s, %v", test.name, r.status, r.body, line)
			}
			continue
		}
		calls := h.engine.requests()
		k := calls[len(calls)-1]
		if r.status != 200 || !strings.HasPrefix(k.header.Get(api.HeaderKey), test.key) || k.header.Get(api.HeaderTenant) != "acme" || strings.Contains(k.raw, test.token) {
			t.Errorf("%s: %d %s, the engine got %s", test.name, r.status, r.body, k.raw)
		}
		if got := r.header.Get("X-RateLimit-Limit-Tokens"); got != test.tokens {
			t.Errorf("%s: %s tokens a minute", test.name, got)
		}
		h.door.failures = limit.NewFailures(time.Now(), 16) // else the refusals after it would be slow
	}
}

func TestTokensKeysAreFetchedWhenOneIsNew(t *testing.T) {
	first, second := newSigner(t, "k1"), newSigner(t, "k2")
	var set atomic.Pointer[string]
	var fetched atomic.Int32
	issuer := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fetched.Add(1)
		_, _ = w.Write([]byte(*set.Load()))
	}))
	defer issuer.Close()
	keys := keySetOf(first)
	set.Store(&keys)
	h := start(t, ok, withTokens(issuer.URL))
	if r := h.ask(post("{}", bearer(first.token()))); r.status != 200 {
		t.Fatalf("%d %s", r.status, r.body)
	}
	keys2 := keySetOf(second)
	set.Store(&keys2)
	if r := h.ask(post("{}", bearer(second.token()))); r.status != 200 {
		t.Errorf("a key that is new: %d %s", r.status, r.body)
	}
	if r := h.ask(post("{}", bearer(first.token()))); r.status != 401 {
		t.Errorf("a key that is gone: %d", r.status)
	}
	if n := fetched.Load(); n != 2 {
		t.Errorf("fetched %d times: a stranger can make us fetch", n)
	}
	issuer.Close()
	if r := h.ask(post("{}", bearer(second.token()))); r.status != 200 {
		t.Errorf("while the issuer is away: %d", r.status)
	}
}

func TestTokensKeysInAFileAreReadAgain(t *testing.T) {
	first, second := newSigner(t, "k1"), newSigner(t, "k2")
	file := filepath.Join(t.TempDir(), "jwks.json")
	write := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(keySetOf(first))
	h := start(t, ok, withTokens(file))
	write(keySetOf(first, second))
	h.eventually("the second key", func() bool {
		_, why := h.door.issuer.identify([]byte(second.token()), time.Now())
		return why == ""
	})
	h.close()
	write("{}}")
	if _, err := New(h.cfg, h.tlog); err == nil || !strings.Contains(err.Error(), "--jwt-keys") {
		t.Errorf("a file that is no key set: %v", err)
	}
}
