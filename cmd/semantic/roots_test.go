package main

import (
	"crypto/x509"
	"os"
	"os/exec"
	"testing"
)

// An image without a file in it must know the certificate authorities all the same.
func TestCertificateAuthoritiesAreInTheBinary(t *testing.T) {
	if os.Getenv("SSL_CERT_FILE") == "/nonexistent" {
		roots, err := x509.SystemCertPool()
		if err != nil {
			t.Fatal(err)
		}
		if roots.Equal(x509.NewCertPool()) {
			t.Fatal("none is known")
		}
		return
	}
	cmd := exec.Command("/proc/self/exe", "-test.run=^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), "SSL_CERT_FILE=/nonexistent", "SSL_CERT_DIR=/nonexistent")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
