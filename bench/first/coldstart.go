package main

import (
	"io"
	"os"
	"time"

	"github.com/semantic-pod/semantic/bench/measure"
)

// What there is to compare with: the predecessor's median on its own machine, and
// the goal.
const (
	predecessorMS = 1939.0
	goalMS        = 300.0
)

// coldStart is the time from the start of `semantic serve` to its first 200 on
// /health/ready.
type coldStart struct {
	RunsMS         []float64 `json:"runs_ms"`
	measure.Spread           // in milliseconds
	PredecessorMS  float64   `json:"predecessor_ms"`
	GoalMS         float64   `json:"goal_ms"`
	Note           string    `json:"note"`
}

// warm reads files once, so that every start finds them in the page cache.
func warm(paths ...string) error {
	for _, path := range paths {
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, f)
		f.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

func measureColdStart(p plan) (coldStart, error) {
	c := coldStart{PredecessorMS: predecessorMS, GoalMS: goalMS, Note: "new processes and folders each time, files in the page cache"}
	for range p.starts {
		pod, err := startPod(p)
		if err != nil {
			return c, err
		}
		c.RunsMS = append(c.RunsMS, measure.Round(float64(pod.Took)/float64(time.Millisecond)))
		if err := pod.stop(); err != nil {
			return c, err
		}
	}
	c.Spread = measure.SpreadOf(c.RunsMS)
	return c, nil
}
