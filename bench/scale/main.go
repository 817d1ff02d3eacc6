// Command scale predicts what 1 to 1,000 pods do behind a router, from what one pod is
// measured to take, and holds the prediction against 1, 2 and 3 real pods.
//
// Read: main, workload (what comes), route (which pod gets it), calibrate and service
// (what things take), simulate, simpod and simdisk (pods that take that long), real (pods
// that run), pod, cgroup, ask.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"

	"github.com/semantic-pod/semantic/bench/measure"
)

// results is what is committed.
type results struct {
	Machine measure.Machine `json:"machine"`
	Share   float64         `json:"cores_of_a_pod"`
	Load    load            `json:"load"`
	Shape   shape           `json:"pod"`
	Service *service        `json:"service"`
	Checks  []check         `json:"checks"`
	Scale   []point         `json:"scale"`
}

// check is a prediction held against real pods.
type check struct {
	Pods      int       `json:"pods"`
	Routing   string    `json:"routing"`
	Seconds   float64   `json:"seconds"`
	Predicted figures   `json:"predicted"`
	Measured  figures   `json:"measured"`
	Deviation deviation `json:"deviation"`
}

// deviation is of the prediction from what was measured.
type deviation struct {
	Mean    float64 `json:"ttft_mean_percent"`
	P50     float64 `json:"ttft_p50_percent"`
	P90     float64 `json:"ttft_p90_percent"`
	HitRate float64 `json:"hit_rate_points"`
	PoolUse float64 `json:"pool_use_points"`
}

// point is a simulated fleet.
type point struct {
	Pods    int    `json:"pods"`
	Routing string `json:"routing"`
	figures
}

type plan struct {
	binary, model, cgroup string
	share                 float64
	shape                 shape
	load                  load
	blockBytes            int
	first                 int // number of the first pod, so that groups have names of their own
	seconds               float64
	seed                  uint64
}

func main() {
	p := plan{
		shape: shape{Blocks: 160, BlockToken: 16, StepTokens: 128, MaxBatch: 64},
		load:  load{Agents: 8, Rate: 1.2, Shared: 32, First: 32, UserLeast: 8, UserMost: 40, Answer: 8, Turns: 8},
	}
	flag.StringVar(&p.binary, "bin", "bin/semantic", "binary to measure")
	flag.StringVar(&p.model, "model", "models/smollm2-135m-instruct-q4_1.gguf", "model of the pods")
	flag.IntVar(&p.blockBytes, "block-bytes", 368_640, "bytes of a block of the model's KV memory")
	flag.StringVar(&p.cgroup, "cgroup", "/sys/fs/cgroup/cpu", "folder of the cpu controller, in which each pod gets a control group")
	flag.Float64Var(&p.share, "share", 0.5, "cores that each pod gets")
	flag.Float64Var(&p.seconds, "seconds", 40, "time in which turns come to real pods")
	flag.Uint64Var(&p.seed, "seed", 1, "of the turns")
	parts := flag.String("parts", "service,1,2,3,scale", "what to do, by commas: measure one pod's service times, check against so many real pods, simulate; what is left out is kept. Or again: only predict anew; or short: compare cached tokens alone, and write nothing")
	out := flag.String("out", "bench/scale.json", "file for the results")
	flag.Parse()
	if err := do(p, strings.Split(*parts, ","), *out); err != nil {
		fmt.Fprintln(os.Stderr, "bench/scale:", err)
		os.Exit(1)
	}
}

func do(p plan, parts []string, out string) error {
	r := results{}
	if text, err := os.ReadFile(out); err == nil {
		if err := json.Unmarshal(text, &r); err != nil {
			return fmt.Errorf("%s: %w", out, err)
		}
	} else if !errors.Is(err, os.ErrNotExist) {
		return err
	}
	for _, part := range parts {
		var err error
		switch part {
		case "service":
			r.Share, r.Load, r.Shape = p.share, p.load, p.shape
			if r.Machine, err = measure.ThisMachine(p.binary); err == nil {
				r.Service, err = measureService(p)
			}
			fmt.Printf("service: %+v\n", r.Service)
		case "1", "2", "3":
			err = r.check(p, int(part[0]-'0'), func() error { return write(r, out) })
		case "short":
			return short(p)
		case "again":
			r.predictAgain(p)
		case "scale":
			err = r.scale(p)
		default:
			err = fmt.Errorf("there is no part %q", part)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", part, err)
		}
		if err := write(r, out); err != nil {
			return err
		}
	}
	return nil
}

func write(r results, out string) error {
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(out, append(text, '\n'), 0o644)
}
