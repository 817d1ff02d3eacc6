//go:build soak

package sidecar

import (
	"testing"
	"time"
)

// The long form of TestNoAcknowledgedLineIsLostDoubledOrTorn: 200,000 lines a second
// from two writers through 200 rotations, besides the time that killed writers need to
// come back. `make soak-logs` runs it.
func TestSoakNoAcknowledgedLineIsLostDoubledOrTorn(t *testing.T) {
	o := trial{
		Disk: "256m", Rate: 105_000, RotateBytes: 16 << 20, Rotations: 200, Kills: 60, Fulls: 20,
		Pause: 2 * time.Second, Limit: 15 * time.Minute,
	}.run(t)
	t.Log(o)
}

func TestSoakNoPassingFileSystemErrorEndsIt(t *testing.T) { sweepFaults(t, 1) }

func TestSoakCopyTruncateLosesLines(t *testing.T) {
	o := runCopyTruncate(t, 100_000, 200)
	t.Log(o)
	if o.Lost == 0 {
		t.Error("nothing was lost: the harness sees no loss, or logrotate has changed")
	}
}
