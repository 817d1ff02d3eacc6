package proxy

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"os"
	"time"

	"github.com/semantic-pod/semantic/api"
	"go.uber.org/zap"
)

// validateTLS says which of the settings lacks another.
func (c *Config) validateTLS() error {
	switch {
	case (c.TLSCertFile == "") != (c.TLSKeyFile == ""):
		return errors.New("--tls-cert-file and --tls-key-file need each other")
	case c.TLSClientCAFile != "" && c.TLSCertFile == "":
		return errors.New("--tls-client-ca-file needs --tls-cert-file and --tls-key-file")
	}
	return nil
}

// readTLS reads the certificate and whose clients' certificates are taken. Connections
// that are open keep what they began with.
func (p *Proxy) readTLS() error {
	if p.cfg.TLSCertFile == "" {
		return nil
	}
	certificate, err := tls.LoadX509KeyPair(p.cfg.TLSCertFile, p.cfg.TLSKeyFile)
	if err != nil {
		return fmt.Errorf("cannot use --tls-cert-file=%s with --tls-key-file=%s: %w", p.cfg.TLSCertFile, p.cfg.TLSKeyFile, err)
	}
	cfg := &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}}
	if p.cfg.TLSClientCAFile != "" {
		pem, err := os.ReadFile(p.cfg.TLSClientCAFile)
		if err != nil {
			return fmt.Errorf("cannot read --tls-client-ca-file: %w", err)
		}
		cfg.ClientCAs = x509.NewCertPool()
		if !cfg.ClientCAs.AppendCertsFromPEM(pem) {
			return fmt.Errorf("cannot use --tls-client-ca-file=%s: there is no certificate in it", p.cfg.TLSClientCAFile)
		}
		cfg.ClientAuth = tls.VerifyClientCertIfGiven // probes have none
	}
	p.tls.Store(cfg)
	return nil
}

// certificateExpiry is when the certificate ends, in seconds since 1970; 0 without one.
func (p *Proxy) certificateExpiry() float64 {
	cfg := p.tls.Load()
	if cfg == nil || cfg.Certificates[0].Leaf == nil {
		return 0
	}
	return float64(cfg.Certificates[0].Leaf.NotAfter.Unix())
}

// shakeHands begins TLS on a connection, within the time that a request's head has.
func (p *Proxy) shakeHands(c *conn) error {
	cfg := p.tls.Load()
	if cfg == nil || c.scrapes {
		return nil
	}
	secure := tls.Server(c.tcp, cfg)
	c.Conn = secure
	ctx, cancel := context.WithTimeout(context.Background(), p.cfg.ReadHeaderTimeout)
	defer cancel()
	err := secure.HandshakeContext(ctx)
	if err == nil {
		if chain := secure.ConnectionState().VerifiedChains; len(chain) > 0 {
			c.certificate = chain[0][0]
		}
		return nil
	}
	p.log.Zap().Debug("no TLS came to be", zap.String("client", c.client), zap.Error(err))
	var plain tls.RecordHeaderError
	if errors.As(err, &plain) && plain.Conn != nil && looksLikeHTTP(plain.RecordHeader) {
		e := &api.Error{Status: http.StatusBadRequest, Code: "tls_needed", Message: "this address speaks HTTPS: say https:// in place of http://"}
		_ = c.tcp.SetWriteDeadline(time.Now().Add(acceptPause))
		_, _ = c.tcp.Write(wholeAnswer(e))
		c.Conn, c.linger = c.tcp, true
	}
	return err
}

// looksLikeHTTP knows the first bytes of a request without TLS.
func looksLikeHTTP(first [5]byte) bool {
	switch string(first[:4]) {
	case "GET ", "POST", "HEAD", "PUT ", "DELE", "OPTI", "PATC":
		return true
	}
	return false
}

// closeWrite ends what we send, so that the client sees an orderly end.
func (c *conn) closeWrite() {
	if secure, ok := c.Conn.(*tls.Conn); ok {
		_ = c.tcp.SetWriteDeadline(time.Now().Add(lingerTime))
		_ = secure.CloseWrite()
	}
	_ = c.tcp.CloseWrite()
}
