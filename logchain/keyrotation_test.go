package logchain

import (
	"crypto/ed25519"
	"testing"
)

// A manifest whose key was replaced is proved with both keys, in either order. The old
// one alone does not vouch for what came after it, nor the new one for what came before.
func TestManifestIsProvedAcrossAChangeOfKeys(t *testing.T) {
	dir, m := testFolder(t, testKey(1))
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	m = open(t, dir, testKey(2))
	if m.Flaw() != nil {
		t.Errorf("another key is no change by somebody else: %v", m.Flaw())
	}
	addFile(t, m, archiveName(6), testLines(boot, 70, 7))
	earlier, later := testKey(1).Public().(ed25519.PublicKey), testKey(2).Public().(ed25519.PublicKey)
	for what, c := range map[string]struct {
		keys []ed25519.PublicKey
		good bool
	}{
		"both":            {[]ed25519.PublicKey{earlier, later}, true},
		"both, new first": {[]ed25519.PublicKey{later, earlier}, true},
		"the old one":     {[]ed25519.PublicKey{earlier}, false},
		"the new one":     {[]ed25519.PublicKey{later}, false},
		"another":         {[]ed25519.PublicKey{testKey(3).Public().(ed25519.PublicKey)}, false},
	} {
		r, err := Verify(t.Context(), dir, Expect{Keys: c.keys})
		if err != nil {
			t.Fatal(err)
		}
		if good := len(r.Faults) == 0; good != c.good {
			t.Errorf("%s: faults %v", what, r.Faults)
		}
	}
}
