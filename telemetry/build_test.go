package telemetry

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"testing"
	"testing/iotest"
	"time"
)

func TestHashPausesBetweenSmallPieces(t *testing.T) {
	for _, size := range []int{0, 1, hashPiece - 1, hashPiece, 5*hashPiece + 3} {
		file, pauses := bytes.Repeat([]byte("executable"), size/10+1)[:size], 0
		got, err := hashInPieces(bytes.NewReader(file), func(d time.Duration) {
			if pauses++; d != hashPause {
				t.Errorf("%d bytes: a pause of %v, want %v", size, d, hashPause)
			}
		})
		want := sha256.Sum256(file)
		if err != nil || got != hex.EncodeToString(want[:]) {
			t.Errorf("%d bytes: hash %s, %v, want %x", size, got, err, want)
		}
		if pauses != size/hashPiece {
			t.Errorf("%d bytes: %d pauses, want one behind each of %d whole pieces", size, pauses, size/hashPiece)
		}
	}
	fault := errors.New("disk gone")
	if _, err := hashInPieces(io.MultiReader(bytes.NewReader(make([]byte, hashPiece)), iotest.ErrReader(fault)), func(time.Duration) {}); !errors.Is(err, fault) {
		t.Errorf("a file that cannot be read: %v, want %v", err, fault)
	}
}

func TestExecutableHashIsThatOfTheFile(t *testing.T) {
	file, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	want := sha256.Sum256(file)
	if got, err := ExecutableSHA256(); err != nil || got != hex.EncodeToString(want[:]) {
		t.Errorf("hash %s, %v, want %x", got, err, want)
	}
}
