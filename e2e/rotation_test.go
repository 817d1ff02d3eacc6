package e2e

import (
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/semantic-pod/semantic/api"
)

// TestRotationUnderLoadLosesNoLine rotates every few hundred lines while requests
// come from many sides, and counts each line afterwards.
func TestRotationUnderLoadLosesNoLine(t *testing.T) {
	t.Parallel()
	p := newDoomedPod(t, settings{args: []string{
		"--log-rotate-bytes", "64KiB", "--log-check-interval", "20ms", "--log-keep", "10000",
	}})
	const clients, each = 8, 400
	var wg sync.WaitGroup
	errs := make(chan error, clients)
	for c := range clients {
		wg.Go(func() {
			for i := range each {
				id := fmt.Sprintf("load-%d-%d", c, i)
				r := p.call(http.MethodGet, "/v1/models", "", api.HeaderRequestID, id)
				if r.err != nil || r.status != http.StatusOK {
					errs <- fmt.Errorf("%s: %w, %d %s", id, r.err, r.status, r.body)
					return
				}
			}
		})
	}
	wg.Wait()
	close(errs)
	for err := range errs {
		t.Fatal(err)
	}
	await(t, "rotated files to be compressed", func() bool {
		return len(files(t, p, "proxy.log.*.zst")) > 1 && len(files(t, p, "engine.log.*.zst")) > 1
	})
	p.mustStop(t)
	for _, process := range []string{"proxy", "engine"} {
		lines := mustReadLogs(t, p.logDir(), process)
		checkSequence(t, process, lines)
		byID := ofRequest(lines)
		for c := range clients {
			for i := range each {
				if id := fmt.Sprintf("load-%d-%d", c, i); len(byID[id]) != 1 {
					t.Fatalf("%s.log has %d lines of %s", process, len(byID[id]), id)
				}
			}
		}
		if n := len(files(t, p, process+".log*")); n < 4 {
			t.Errorf("%s.log was rotated %d times: too few to prove anything", process, n-1)
		}
	}
}

func files(t *testing.T, p *pod, pattern string) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(p.logDir(), pattern))
	if err != nil {
		t.Fatal(err)
	}
	kept := found[:0]
	for _, f := range found {
		if !strings.HasSuffix(f, ".part") {
			kept = append(kept, f)
		}
	}
	return kept
}
