package main

import (
	"errors"
	"fmt"
	"slices"
)

var errNoService = errors.New("one pod's service times are not measured yet: -parts service")

// setting of real pods, which share a machine.
func (r *results) setting(pods int, routing string, seconds float64) setting {
	return setting{pods: pods, routing: routing, seconds: seconds, load: r.Load, shape: r.Shape, service: r.Service, machine: true}
}

// check plays the same turns to simulated and to real pods, by each routing, and saves
// what each gave; one pod leaves nothing to choose.
func (r *results) check(p plan, pods int, save func() error) error {
	if r.Service == nil {
		return errNoService
	}
	ways := routings
	if pods == 1 {
		ways = []string{"any"}
	}
	for i, routing := range ways {
		s := r.setting(pods, routing, p.seconds)
		turns := turnsOf(r.Load, pods, p.seconds, p.seed)
		real, realUse, err := run(p, s, turns, uint64(1000*pods+i))
		if err != nil {
			return err
		}
		c := check{Pods: pods, Routing: routing, Seconds: p.seconds, Measured: figuresOf(real, realUse, 0)}
		c.predict(s, turns)
		r.Checks = slices.DeleteFunc(r.Checks, func(old check) bool { return old.Pods == pods && old.Routing == routing })
		r.Checks = append(r.Checks, c)
		slices.SortStableFunc(r.Checks, func(a, b check) int { return a.Pods - b.Pods })
		if err := save(); err != nil {
			return err
		}
		fmt.Printf("%d pods, %s\n predicted %+v\n measured  %+v\n deviation %+v\n", pods, routing, c.Predicted, c.Measured, c.Deviation)
	}
	return nil
}

func (c *check) predict(s setting, turns []turn) {
	simulated, use := simulate(s, turns)
	c.Predicted = figuresOf(simulated, use, 0)
	a, b := c.Predicted, c.Measured
	percent := func(a, b float64) float64 { return tenths(100 * (a/b - 1)) }
	c.Deviation = deviation{
		Mean: percent(a.Mean, b.Mean), P50: percent(a.P50, b.P50), P90: percent(a.P90, b.P90),
		HitRate: tenths(a.HitRate - b.HitRate), PoolUse: tenths(a.PoolUse - b.PoolUse),
	}
}

// predictAgain makes the predictions of the checks anew, from the service times that the
// results hold.
func (r *results) predictAgain(p plan) {
	for i := range r.Checks {
		c := &r.Checks[i]
		c.predict(r.setting(c.Pods, c.Routing, c.Seconds), turnsOf(r.Load, c.Pods, c.Seconds, p.seed))
		fmt.Printf("%d pods, %s: %+v\n", c.Pods, c.Routing, c.Deviation)
	}
}

// The fleets that are simulated, each pod on a machine of its own.
var fleets = []int{1, 2, 3, 5, 10, 20, 50, 100, 200, 500, 1000}

const (
	simulatedSeconds = 240
	warmSeconds      = 60 // of them are not looked at
)

func (r *results) scale(p plan) error {
	if r.Service == nil {
		return errNoService
	}
	r.Scale = nil
	for _, pods := range fleets {
		turns := turnsOf(r.Load, pods, simulatedSeconds, p.seed)
		for _, routing := range routings {
			s := r.setting(pods, routing, simulatedSeconds)
			s.machine = false
			all, use := simulate(s, turns)
			r.Scale = append(r.Scale, point{pods, routing, figuresOf(all, use, warmSeconds)})
		}
		fmt.Printf("%d pods are simulated\n", pods)
	}
	return nil
}
