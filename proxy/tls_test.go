package proxy

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/semantic-pod/semantic/api"
)

// authority signs the certificates of a test.
type authority struct {
	t    testing.TB
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	next int64
}

func newAuthority(t testing.TB) *authority {
	a := &authority{t: t}
	template := &x509.Certificate{Subject: pkix.Name{CommonName: "ca"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	a.key, a.cert = a.sign(template, nil)
	return a
}

func (a *authority) sign(template, parent *x509.Certificate) (*ecdsa.PrivateKey, *x509.Certificate) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	a.next++
	template.SerialNumber = big.NewInt(a.next)
	template.NotBefore = time.Now().Add(-time.Hour)
	if template.NotAfter.IsZero() {
		template.NotAfter = time.Now().Add(time.Hour)
	}
	signer := a.key
	if parent == nil {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		a.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return key, cert
}

// server writes a server's certificate of that name, and its key.
func (a *authority) server(dir, name string) (certFile, keyFile string) {
	key, cert := a.sign(&x509.Certificate{Subject: pkix.Name{CommonName: name}, DNSNames: []string{name}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}, a.cert)
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	a.write(certFile, "CERTIFICATE", cert.Raw)
	a.write(keyFile, "EC PRIVATE KEY", der)
	return certFile, keyFile
}

func (a *authority) write(path, kind string, der []byte) {
	a.t.Helper()
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		a.t.Fatal(err)
	}
}

// client is a certificate for a client of that subject.
func (a *authority) client(subject pkix.Name) tls.Certificate {
	key, cert := a.sign(&x509.Certificate{Subject: subject, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}, a.cert)
	return tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key, Leaf: cert}
}

func (a *authority) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return pool
}

// dialTLS opens a connection as a client with those certificates.
func (h *harness) dialTLS(a *authority, name string, certs ...tls.Certificate) (*client, error) {
	c, err := tls.Dial("tcp", h.addr, &tls.Config{RootCAs: a.pool(), ServerName: name, Certificates: certs})
	if err != nil {
		return nil, err
	}
	h.t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(patience))
	return &client{h.t, c, bufio.NewReader(c)}, nil
}

func (h *harness) mustDialTLS(a *authority, name string, certs ...tls.Certificate) *client {
	h.t.Helper()
	c, err := h.dialTLS(a, name, certs...)
	if err != nil {
		h.t.Fatal(err)
	}
	return c
}

func startTLS(t *testing.T, answer func(*call), change ...func(*Config)) (*harness, *authority, string) {
	a, dir := newAuthority(t), t.TempDir()
	cert, key := a.server(dir, "one.example")
	return start(t, answer, append(change, func(c *Config) { c.TLSCertFile, c.TLSKeyFile = cert, key })...), a, dir
}

func TestRequestsAndStreamsGoOverTLS(t *testing.T) {
	left := make(chan time.Duration, 1)
	h, a, _ := startTLS(t, func(k *call) {
		if strings.Contains(string(k.body), "stream") {
			k.startStream()
			k.chunk("data: {\"a\":1}\n\n")
			left <- k.waitClosed()
			return
		}
		if strings.Contains(string(k.body), "big") {
			k.json(200, `"`+strings.Repeat("x", 1<<20)+`"`)
			return
		}
		ok(k)
	})
	c := h.mustDialTLS(a, "one.example")
	for range 3 {
		c.send(post("{}"))
		if r := c.read(); r.status != 200 || r.header.Get("X-Request-ID") == "" {
			t.Errorf("%d %v", r.status, r.header)
		}
	}
	c.send(post(`{"big":1}`))
	if r := c.read(); len(r.body) != 1<<20+2 {
		t.Errorf("%d bytes of a large answer", len(r.body))
	}
	c.send(post(`{"stream":true}`))
	r, err := http.ReadResponse(c.in, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(r.Body, make([]byte, 10)); err != nil {
		t.Fatal(err)
	}
	c.Close()
	if took := <-left; took > 3*time.Second {
		t.Errorf("the engine learned of the client's leaving after %v", took)
	}
	if line := h.waitLines(5)[4]; line["finish"] != "client_gone" {
		t.Errorf("log line %v", line)
	}
	if got := h.conns.count(); got > 1 {
		t.Errorf("%d connections", got)
	}
}

func TestPlainHTTPToTheTLSPortIsToldSo(t *testing.T) {
	h, _, _ := startTLS(t, ok)
	if r := h.ask(get("/v1/models")); r.status != 400 || !strings.Contains(r.body, "https://") || r.header.Get("X-Request-ID") == "" {
		t.Errorf("%d %s", r.status, r.body)
	}
	c := h.dial()
	c.send("\x00\x01\x02nonsense\r\n\r\n")
	if _, err := c.in.ReadByte(); err == nil {
		t.Log("nonsense gets an alert")
	}
	h.eventually("no connection to be left", func() bool { return h.conns.count() == 0 })
}

// Who begins TLS and does not go on holds a connection for as long as a slow head
// would.
func TestHandshakeThatStallsIsCutOff(t *testing.T) {
	h, _, _ := startTLS(t, ok, func(c *Config) { c.ReadHeaderTimeout = 50 * time.Millisecond })
	c := h.dial()
	c.send("\x16\x03\x01")
	if _, err := io.ReadAll(c.in); err != nil && !strings.Contains(err.Error(), "reset") {
		t.Errorf("%v", err)
	}
	h.eventually("no connection to be left", func() bool { return h.conns.count() == 0 })
}

func TestCertificatesAreReadAgainWhenTheyChange(t *testing.T) {
	h, a, dir := startTLS(t, ok)
	old := h.mustDialTLS(a, "one.example")
	old.send(get("/metrics"))
	if at := valueOf(old.read().body, "semantic_certificate_expiry_timestamp_seconds"); at < float64(time.Now().Unix()) {
		t.Errorf("the certificate ends at %v", at)
	}
	a.server(dir, "two.example")
	h.eventually("the new certificate", func() bool {
		c, err := h.dialTLS(a, "two.example")
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	old.send(get("/v1/models"))
	if r := old.read(); r.status != 200 {
		t.Errorf("on a connection that was open: %d", r.status)
	}
	a.write(filepath.Join(dir, "cert.pem"), "CERTIFICATE", []byte("nonsense"))
	before := h.tls.Load()
	h.eventually("the refusal of a bad certificate", func() bool {
		h.tlog.Sync()
		b, _ := os.ReadFile(filepath.Join(h.logDir, "proxy.log"))
		return strings.Contains(string(b), "--tls-cert-file") && strings.Contains(string(b), "a changed file is refused")
	})
	if h.tls.Load() != before {
		t.Error("a bad certificate came in force")
	}
	h.mustDialTLS(a, "two.example")
	old.send(get("/metrics"))
	if page := old.read().body; valueOf(page, `semantic_file_rejected{setting="--tls-cert-file"}`) != 1 || valueOf(page, `semantic_file_rejected{setting="--jwt-keys"}`) != 0 {
		t.Error("the metric does not name the file that is refused")
	}
	a.server(dir, "three.example")
	h.eventually("the end of the refusal", func() bool {
		old.send(get("/metrics"))
		return valueOf(old.read().body, `semantic_file_rejected{setting="--tls-cert-file"}`) == 0
	})
}

func TestClientCertificateStandsForAKey(t *testing.T) {
	a, strangers := newAuthority(t), newAuthority(t)
	dir := t.TempDir()
	ca := filepath.Join(dir, "ca.pem")
	a.write(ca, "CERTIFICATE", a.cert.Raw)
	cert, key := a.server(dir, "one.example")
	_, change := withKeys(t, keyEntry("ci", ownKey))
	h := start(t, ok, change, func(c *Config) {
		c.TLSCertFile, c.TLSKeyFile, c.TLSClientCAFile, c.IssuedTokensPerMinute = cert, key, ca, 5000
	})
	acme := a.client(pkix.Name{CommonName: "billing", Organization: []string{"acme"}})
	for i, test := range []struct {
		name   string
		certs  []tls.Certificate
		header string
		want   int
		tenant string
		key    string
	}{
		{"with a certificate", []tls.Certificate{acme}, "X-None: 1", 200, "acme", "mtls:billing"},
		{"a key goes before it", []tls.Certificate{acme}, bearer(ownKey), 200, "acme", "ci"},
		{"a wrong key is none", []tls.Certificate{acme}, bearer("wrong"), 401, "", ""},
		{"without either", nil, "X-None: 1", 401, "", ""},
		{"with a key alone", nil, bearer(ownKey), 200, "acme", "ci"},
		{"without a tenant", []tls.Certificate{a.client(pkix.Name{CommonName: "x"})}, "X-None: 1", 401, "", ""},
		{"an odd name", []tls.Certificate{a.client(pkix.Name{CommonName: "Jürgen X", Organization: []string{"acme"}})}, "X-None: 1", 200, "acme", "mtls:"},
		{"an odd tenant", []tls.Certificate{a.client(pkix.Name{CommonName: "x", Organization: []string{"a b\r\nX: y"}})}, "X-None: 1", 401, "", ""},
	} {
		c := h.mustDialTLS(a, "one.example", test.certs...)
		c.send(post("{}", test.header))
		r := c.read()
		if r.status != test.want {
			t.Errorf("%s: %d %s", test.name, r.status, r.body)
		}
		line := h.waitLines(i + 1)[i]
		if test.want == 200 {
			calls := h.engine.requests()
			k := calls[len(calls)-1]
			if k.header.Get(api.HeaderTenant) != test.tenant || !strings.HasPrefix(k.header.Get(api.HeaderKey), test.key) || line["tenant"] != test.tenant {
				t.Errorf("%s: the engine got %s", test.name, k.raw)
			}
			if strings.HasPrefix(test.key, "mtls:") != (r.header.Get("X-RateLimit-Limit-Tokens") == "5000") {
				t.Errorf("%s: limits %v", test.name, r.header)
			}
		}
	}
	c, err := h.dialTLS(a, "one.example", strangers.client(pkix.Name{CommonName: "billing", Organization: []string{"acme"}}))
	if err == nil {
		c.send(post("{}"))
		if _, err := http.ReadResponse(c.in, nil); err == nil {
			t.Error("a stranger's certificate was taken")
		}
	}
	c = h.mustDialTLS(a, "one.example")
	c.send(get("/health/ready"))
	if r := c.read(); r.status != 200 {
		t.Errorf("a probe without a certificate: %d", r.status)
	}
}

func TestTLSSettingsThatLackOneAreNamed(t *testing.T) {
	for want, change := range map[string]func(*Config){
		"--tls-cert-file and --tls-key-file": func(c *Config) { c.TLSCertFile = "x" },
		"--tls-client-ca-file needs":         func(c *Config) { c.TLSClientCAFile = "x" },
		"--jwt-issuer and":                   func(c *Config) { c.JWTIssuer = "x" },
		"needs --jwt-issuer":                 func(c *Config) { c.JWTKeys, c.JWTTenantClaim = "x", "t" },
		"say https": func(c *Config) {
			c.JWTKeys, c.JWTIssuer, c.JWTAudience, c.JWTTenantClaim = "http://a.example/k", "i", "a", "t"
		},
		"--issued-*: burst": func(c *Config) { c.IssuedBurst = 2 },
	} {
		c := testConfig(&standin{path: "x"})
		change(&c)
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
	h := start(t, ok)
	h.close()
	h.cfg.TLSCertFile, h.cfg.TLSKeyFile = "/nowhere.pem", "/nowhere.key"
	if _, err := New(h.cfg, h.tlog); err == nil || !strings.Contains(err.Error(), "--tls-cert-file=/nowhere.pem") {
		t.Errorf("a certificate that is not there: %v", err)
	}
}
