package telemetry

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"sync"
	"time"
)

// version is set when a release is linked: -ldflags "-X …/telemetry.version=1.2.3".
var version string

// Build says what this binary was made of. It is also the body of
// GET /internal/build on each process's socket.
type Build struct {
	Version          string `json:"version"`
	Commit           string `json:"commit"`
	Modified         bool   `json:"modified"` // built from a tree that differed from the commit
	Go               string `json:"go"`
	ExecutableSHA256 string `json:"executable_sha256,omitempty"`

	Modules []Module `json:"modules,omitempty"` // that are linked, without the standard library
}

// Module is one linked module, replacements resolved.
type Module struct {
	Path    string `json:"path"`
	Version string `json:"version"`
	Sum     string `json:"sum,omitempty"` // h1 of go.sum
}

// ReadBuild returns the build without the executable's hash, which costs a pass
// over the whole file: ExecutableSHA256.
var ReadBuild = sync.OnceValue(func() Build {
	b := Build{Version: version, Commit: "unknown", Go: runtime.Version()}
	info, ok := debug.ReadBuildInfo()
	if ok {
		if b.Version == "" && info.Main.Version != "(devel)" {
			b.Version = info.Main.Version
		}
		for _, s := range info.Settings {
			switch s.Key {
			case "vcs.revision":
				b.Commit = s.Value
			case "vcs.modified":
				b.Modified = s.Value == "true"
			}
		}
		for _, m := range info.Deps {
			if m.Replace != nil {
				m = m.Replace
			}
			b.Modules = append(b.Modules, Module{Path: m.Path, Version: m.Version, Sum: m.Sum})
		}
	}
	if b.Version == "" {
		b.Version = "devel"
	}
	return b
})

// ExecutableSHA256 returns the hash of the file that this process was started
// from, read once, even if another file has since taken its path.
var ExecutableSHA256 = sync.OnceValues(func() (string, error) {
	f, err := os.Open("/proc/self/exe")
	if err != nil {
		return "", fmt.Errorf("cannot hash the executable: %w", err)
	}
	defer f.Close()
	pause := func(time.Duration) {}
	if runtime.GOMAXPROCS(0) == 1 {
		pause = time.Sleep
	}
	sum, err := hashInPieces(f, pause)
	if err != nil {
		return "", fmt.Errorf("cannot hash the executable: %w", err)
	}
	return sum, nil
})

// The hash of an executable takes some tenths of a second where the CPU has no instructions for
// it, and on a machine of few cores a proxy has one thread for everything. It then pauses after each
// piece: the runtime looks at the network when nobody wants to run, and otherwise takes the thread
// away after 10 ms only. A pause comes to about a millisecond, the least that the runtime sleeps
// for, so that pieces much smaller would take it seconds.
const (
	hashPiece = 128 << 10
	hashPause = 100 * time.Microsecond
)

func hashInPieces(r io.Reader, pause func(time.Duration)) (string, error) {
	h := sha256.New()
	for {
		_, err := io.CopyN(h, r, hashPiece)
		if errors.Is(err, io.EOF) {
			return hex.EncodeToString(h.Sum(nil)), nil
		}
		if err != nil {
			return "", err
		}
		pause(hashPause)
	}
}

func (m *Metrics) declareBuild() {
	b := ReadBuild()
	labels := fmt.Sprintf(`process="%s",version="%s",commit="%s"`, m.process, labelEscaper.Replace(b.Version), labelEscaper.Replace(b.Commit))
	m.Gauge("semantic_build_info", labels, "Always 1; the labels say which build this process runs.").Set(1)
}
