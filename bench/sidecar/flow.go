package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/semantic-pod/semantic/bench/measure"
	"github.com/semantic-pod/semantic/telemetry"
)

// idle is a sidecar that has nothing to do.
type idle struct {
	Seconds     float64 `json:"seconds"`
	CPUPercent  float64 `json:"cpu_percent_of_a_core"`
	RSSMiB      float64 `json:"rss_mib"`
	OwnMiB      float64 `json:"rss_mib_of_its_own"` // the rest is pages of the binary, which the pod's processes share
	GoalPercent float64 `json:"goal_cpu_percent"`
	GoalMiB     float64 `json:"goal_rss_mib"`
}

func measureIdle(p plan) (idle, error) {
	i := idle{Seconds: p.idle.Seconds(), GoalPercent: 0.2, GoalMiB: 32}
	dir, err := os.MkdirTemp(p.dir, "bench-sidecar-")
	if err != nil {
		return i, err
	}
	defer os.RemoveAll(dir)
	s, err := sidecarAlone(p, dir)
	if err != nil {
		return i, err
	}
	time.Sleep(3 * time.Second) // its start is over
	before, err := cpuOf(s.cmd.Process.Pid)
	if err != nil {
		return i, err
	}
	time.Sleep(p.idle)
	after, err := cpuOf(s.cmd.Process.Pid)
	if err != nil {
		return i, err
	}
	i.CPUPercent = percent(after.archive+after.rest-before.archive-before.rest, p.idle)
	if i.RSSMiB, err = memory(s.cmd.Process.Pid, "VmRSS"); err != nil {
		return i, err
	}
	if i.OwnMiB, err = memory(s.cmd.Process.Pid, "RssAnon"); err != nil {
		return i, err
	}
	i.RSSMiB, i.OwnMiB = measure.Round(i.RSSMiB), measure.Round(i.OwnMiB)
	return i, s.end()
}

func percent(used, of time.Duration) float64 {
	return measure.Round(100 * used.Seconds() / of.Seconds())
}

// flow is a sidecar beside two writers.
type flow struct {
	Seconds         float64 `json:"seconds"`
	LinesPerSecond  float64 `json:"lines_per_second"`
	MegabytesPerSec float64 `json:"megabytes_per_second"`
	Rotations       int     `json:"rotations"`
	RestPercent     float64 `json:"cpu_percent_of_a_core_without_compression"`
	ArchivePercent  float64 `json:"cpu_percent_of_a_core_archiving"`
	ArchivedShare   float64 `json:"share_archived_when_the_flow_ended"`
	CatchUpSeconds  float64 `json:"seconds_until_all_was_archived"`
	PeakRSSMiB      float64 `json:"peak_rss_mib"`
	GoalPercent     float64 `json:"goal_cpu_percent_without_compression"`
}

const (
	linesPerSecond = 100_000 // of each of two writers
	lineBytes      = 500
)

func measureFlow(p plan) (flow, error) {
	f := flow{Seconds: p.flow.Seconds(), GoalPercent: 30}
	dir, err := os.MkdirTemp(p.dir, "bench-sidecar-")
	if err != nil {
		return f, err
	}
	defer os.RemoveAll(dir)
	s, err := sidecarAlone(p, dir, "--log-keep", "1000000")
	if err != nil {
		return f, err
	}
	pid := s.cmd.Process.Pid
	before, err := cpuOf(pid)
	if err != nil {
		return f, err
	}
	began := time.Now()
	lines, bytes, err := writeLogs(filepath.Join(dir, "logs"), p.flow)
	took := time.Since(began)
	if err != nil {
		return f, err
	}
	after, err := cpuOf(pid)
	if err != nil {
		return f, err
	}
	plain, packed := rotated(dir)
	f.LinesPerSecond, f.MegabytesPerSec = measure.Round(float64(lines)/took.Seconds()), measure.Round(float64(bytes)/took.Seconds()/1e6)
	f.RestPercent, f.ArchivePercent = percent(after.rest-before.rest, took), percent(after.archive-before.archive, took)
	f.Rotations = plain + packed
	f.ArchivedShare = measure.Round(float64(packed) / float64(max(1, plain+packed)))
	for left := plain; left > 0; left, _ = rotated(dir) {
		if time.Since(began) > p.flow+2*time.Minute {
			return f, errors.New("the sidecar does not catch up within two minutes")
		}
		time.Sleep(50 * time.Millisecond)
	}
	f.CatchUpSeconds = measure.Round(time.Since(began.Add(took)).Seconds())
	if f.PeakRSSMiB, err = memory(pid, "VmHWM"); err != nil {
		return f, err
	}
	f.PeakRSSMiB = measure.Round(f.PeakRSSMiB)
	return f, s.end()
}

// rotated counts the rotated files, and those that are compressed.
func rotated(dir string) (plain, packed int) {
	list, _ := filepath.Glob(filepath.Join(dir, "logs", "*.log.2*Z"))
	zst, _ := filepath.Glob(filepath.Join(dir, "logs", "*.log.2*Z.zst"))
	return len(list), len(zst)
}

// writeLogs has two writers write for a time, through the code by which processes log.
func writeLogs(dir string, d time.Duration) (lines, bytes int64, err error) {
	var wg sync.WaitGroup
	var mu sync.Mutex
	for _, process := range []string{"proxy", "engine"} {
		wg.Go(func() {
			n, e := writeLog(dir, process, d)
			mu.Lock()
			lines, err = lines+n, errors.Join(err, e)
			mu.Unlock()
		})
	}
	wg.Wait()
	return lines, lines * lineBytes, err
}

func writeLog(dir, process string, d time.Duration) (lines int64, err error) {
	log, err := telemetry.OpenLog(telemetry.LogConfig{Process: process, Dir: dir})
	if err != nil {
		return 0, err
	}
	const batch = linesPerSecond / 100
	pad := zap.String("padding", strings.Repeat("x", lineBytes-156)) // with which a line has lineBytes
	began := time.Now()
	for due := began; due.Sub(began) < d; due = due.Add(10 * time.Millisecond) {
		time.Sleep(time.Until(due))
		for range batch {
			log.Zap().Info("line", zap.Int64("n", 1_000_000_000+lines), pad)
			lines++
		}
	}
	return lines, errors.Join(log.Sync(), log.Close())
}
