package sidecar

import (
	"bytes"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/semantic-pod/semantic/api"
	"github.com/semantic-pod/semantic/logchain"
	"github.com/semantic-pod/semantic/telemetry"
)

// writeKeys makes a pair of keys as openssl writes them.
func writeKeys(t testing.TB) (private, public string) {
	t.Helper()
	pub, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	spki, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		t.Fatal(err)
	}
	return write(t, dir, "key.pem", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}))),
		write(t, dir, "pub.pem", string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: spki})))
}

// The head goes out of the volume by three ways, which say the same.
func TestHeadIsPublished(t *testing.T) {
	dir := t.TempDir()
	var stderr bytes.Buffer
	log, err := telemetry.OpenLog(telemetry.LogConfig{Process: "sidecar", Dir: t.TempDir(), Level: "error", Stderr: &stderr})
	if err != nil {
		t.Fatal(err)
	}
	private, public := writeKeys(t)
	cfg := testConfig(dir)
	cfg.Socket = filepath.Join(t.TempDir(), "sidecar.sock")
	cfg.SignKey = private
	s, err := New(cfg, log)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	write(t, dir, "proxy.log."+stamp, "line\n")
	var got state
	eventually(t, "the file is listed", func() bool {
		if err := json.Unmarshal(ask(t, cfg.Socket, api.PathState), &got); err != nil {
			t.Fatal(err)
		}
		return got.Manifest.Count == 2
	})
	if !got.Manifest.Intact || got.Manifest.Error != "" {
		t.Errorf("the state says %+v", got.Manifest)
	}
	_, body := get(t, s, "/metrics")
	for _, want := range []string{
		"semantic_log_manifest_entries 2", fmt.Sprintf("semantic_log_manifest_head %d", got.Manifest.Prefix()), "semantic_log_manifest_intact 1",
	} {
		if !strings.Contains(body, "\n"+want+"\n") {
			t.Errorf("no %s in\n%s", want, body)
		}
	}
	stop(t, s)
	log.Close()
	if want := `"msg":"manifest head","process":"sidecar","head":"` + got.Manifest.Head.String() + `"`; !strings.Contains(stderr.String(), want) {
		t.Errorf("stderr has no %s:\n%s", want, stderr.String())
	}
	key, err := logchain.ReadPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	r, err := logchain.Verify(t.Context(), dir, logchain.Expect{Head: &got.Manifest.Head, Keys: []ed25519.PublicKey{key}})
	if err != nil || len(r.Faults) > 0 || r.Signed != 2 {
		t.Errorf("verify finds %+v, %v", r, err)
	}
}

func TestChangedManifestIsToldAndContinued(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "proxy.log."+stamp, "line\n")
	s := startTest(t, testConfig(dir))
	eventually(t, "the file is listed", func() bool { return s.ledger.state().Count == 2 })
	if err := os.Truncate(filepath.Join(dir, logchain.FileName), 300); err != nil {
		t.Fatal(err)
	}
	write(t, dir, "engine.log."+stamp, "line\n")
	eventually(t, "the next file is listed", func() bool { return s.ledger.state().Count == 3 })
	if got := s.ledger.state(); got.Intact || !strings.Contains(got.Error, "changed by somebody else") {
		t.Errorf("the state says %+v", got)
	}
	if _, body := get(t, s, "/metrics"); !strings.Contains(body, "\nsemantic_log_manifest_intact 0\n") {
		t.Error("the metric says that it is intact")
	}
	if r, err := logchain.Verify(t.Context(), dir, logchain.Expect{}); err != nil || len(r.Faults) == 0 {
		t.Errorf("verify finds %+v, %v", r, err)
	}
}

// The second sidecar continues what the first one wrote up to the end.
func TestManifestIsHandedOver(t *testing.T) {
	dir := t.TempDir()
	first := startTest(t, testConfig(dir))
	eventually(t, "the first owns the logs", func() bool { return first.ledger.state().Count == 1 })
	second := startTest(t, testConfig(dir))
	for i, s := range []*Sidecar{first, second} {
		write(t, dir, fmt.Sprintf("proxy.log.20260102T030405.00000000%dZ", i), "line\n")
		eventually(t, "the file is listed", func() bool { return s.ledger.state().Count == uint64(i+2) })
		stop(t, s)
	}
	if r := proved(t, dir); r.Files != 2 || r.Head.Count != 3 {
		t.Errorf("%+v", r)
	}
}

// A manifest that cannot be had does not keep logs from being rotated, and all is
// made up for when it can.
func TestRotationGoesOnWithoutAManifest(t *testing.T) {
	dir := t.TempDir()
	obstacle := filepath.Join(dir, logchain.FileName)
	if err := os.Mkdir(obstacle, 0o700); err != nil {
		t.Fatal(err)
	}
	s := startTest(t, testConfig(dir))
	write(t, dir, "proxy.log", strings.Repeat("line\n", 100_000))
	eventually(t, "the log is rotated", func() bool {
		found, err := look(dir)
		return err == nil && len(found.rotated) == 1
	})
	eventually(t, "health tells why it is not archived", func() bool {
		return strings.Contains(s.archive.duty.state(time.Now()).Error, "cannot open the manifest")
	})
	if err := os.Remove(obstacle); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the log is archived", func() bool { return s.ledger.state().Count == 2 })
	proved(t, dir)
}

func TestKeyOfAnotherKindIsRefused(t *testing.T) {
	_, public := writeKeys(t)
	for _, path := range []string{public, filepath.Join(t.TempDir(), "none")} {
		cfg := testConfig("x")
		cfg.SignKey = path
		if err := cfg.Validate(); err == nil || !strings.Contains(err.Error(), "--log-sign-key="+path) {
			t.Errorf("%s: %v", path, err)
		}
	}
}
