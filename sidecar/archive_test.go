package sidecar

import (
	"context"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/semantic-pod/semantic/logchain"
)

// Whatever moment a sidecar died at, its next start ends with the same files.
func TestArchivingGoesOnFromEveryCrashPoint(t *testing.T) {
	const name, content = "proxy.log." + stamp, "line 1\nline 2\n"
	dir := t.TempDir()
	src, err := os.Open(write(t, dir, "source", content))
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	if err := compress(t.Context(), src, filepath.Join(dir, "source.zst"), func() {}); err != nil {
		t.Fatal(err)
	}
	good, err := os.ReadFile(filepath.Join(dir, "source.zst"))
	if err != nil {
		t.Fatal(err)
	}
	for what, before := range map[string]map[string]string{
		"after the rename":             {name: content},
		"after the writer was killed":  {name: content + `{"ts":"20`},
		"while compressing":            {name: content, name + logchain.PartSuffix: string(good[:len(good)/2])},
		"before the copy got its name": {name: content, name + logchain.PartSuffix: string(good)},
		"before the original went":     {name: content, name + logchain.ArchiveSuffix: string(good)},
		"with a torn copy":             {name: content, name + logchain.ArchiveSuffix: string(good[:len(good)/2])},
		"with an empty copy":           {name: content, name + logchain.ArchiveSuffix: ""},
		"at the end":                   {name + logchain.ArchiveSuffix: string(good)},
	} {
		t.Run(what, func(t *testing.T) {
			dir := t.TempDir()
			for name, content := range before {
				write(t, dir, name, content)
			}
			startTest(t, testConfig(dir))
			eventually(t, "only the archive is there", func() bool {
				return slices.Equal(names(t, dir), []string{name + logchain.ArchiveSuffix})
			})
			if got := read(t, filepath.Join(dir, name+logchain.ArchiveSuffix)); got != content {
				t.Errorf("the archive says %q, want %q", got, content)
			}
		})
	}
}

func TestEmptyAndLargeFilesCompressAndVerify(t *testing.T) {
	random := make([]byte, 3*frameBytes+12345)
	for i := range random {
		random[i] = byte(rand.IntN(256))
	}
	for what, content := range map[string]string{
		"empty": "", "one line": "line\n", "a frame": strings.Repeat("x", frameBytes),
		"frames": strings.Repeat("a line of a log\n", 500_000), "incompressible": string(random),
	} {
		dir := t.TempDir()
		src, err := os.Open(write(t, dir, "source", content))
		if err != nil {
			t.Fatal(err)
		}
		defer src.Close()
		path := filepath.Join(dir, "copy"+logchain.ArchiveSuffix)
		if err := compress(t.Context(), src, path, func() {}); err != nil {
			t.Fatal(err)
		}
		size, sum, err := verify(t.Context(), path, hashOf(content), func() {})
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
		if stored, err := os.ReadFile(path); err != nil || size != int64(len(stored)) || sum != hashOf(string(stored)) {
			t.Errorf("%s: the copy is said to have %d bytes and SHA-256 %s (%v)", what, size, sum, err)
		}
		if read(t, path) != content {
			t.Errorf("%s: the copy says something else", what)
		}
	}
}

func TestDamagedCopyIsNotVerified(t *testing.T) {
	dir := t.TempDir()
	content := strings.Repeat("a line of a log\n", 1000)
	src, err := os.Open(write(t, dir, "source", content))
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	path := filepath.Join(dir, "copy"+logchain.ArchiveSuffix)
	if err := compress(t.Context(), src, path, func() {}); err != nil {
		t.Fatal(err)
	}
	proved := func() bool {
		_, _, err := verify(t.Context(), path, hashOf(content), func() {})
		return err == nil
	}
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for i := range good {
		bad := slices.Clone(good)
		bad[i] ^= 0x10
		write(t, dir, "copy"+logchain.ArchiveSuffix, string(bad))
		if !proved() {
			seen++
		} else if read(t, path) != content { // a few bits of the header mean nothing
			t.Errorf("a flipped bit in byte %d of %d was not seen", i, len(good))
		}
	}
	if seen < len(good)/2 {
		t.Errorf("of %d flipped bits %d were seen", len(good), seen)
	}
	write(t, dir, "copy"+logchain.ArchiveSuffix, string(good[:len(good)-4]))
	if proved() {
		t.Error("a copy that was cut short was not seen")
	}
}

func TestStopInterruptsCompression(t *testing.T) {
	dir := t.TempDir()
	src, err := os.Open(write(t, dir, "source", strings.Repeat("x", 2*frameBytes)))
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	ctx, cancel := context.WithCancel(t.Context())
	frames := 0
	err = compress(ctx, src, filepath.Join(dir, "copy"), func() { frames++; cancel() })
	if err == nil || frames != 1 {
		t.Errorf("%d frames after the stop, %v", frames, err)
	}
}
