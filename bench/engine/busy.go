package main

import (
	"math"
	"os/exec"
	"runtime"
	"syscall"
	"time"
)

// loops are processes that do nothing but take a core each.
type loops []*exec.Cmd

// startLoops starts one for every core, stopped.
func startLoops() (l loops, err error) {
	for range runtime.NumCPU() {
		loop := exec.Command("sh", "-c", "while :; do :; done")
		if err := loop.Start(); err != nil {
			l.end()
			return nil, err
		}
		l = append(l, loop)
	}
	if err := l.signal(syscall.SIGSTOP); err != nil {
		l.end()
		return nil, err
	}
	return l, nil
}

// signal lets the loops go on or stops them, and waits until that is so.
func (l loops) signal(s syscall.Signal) error {
	for _, loop := range l {
		if err := loop.Process.Signal(s); err != nil {
			return err
		}
	}
	time.Sleep(100 * time.Millisecond)
	return nil
}

func (l loops) end() {
	for _, loop := range l {
		_ = loop.Process.Kill()
		_ = loop.Wait()
	}
}

// underBusyLoops measures a case while another process loops on every core. Each round measures it
// without the loops, too, right before: what is kept is the ratio of both, since a machine that is
// shared changes its speed from minute to minute.
func underBusyLoops(ours, theirs side, a ask, rounds int) (pair, error) {
	p := pair{Case: a.String(), Busy: true}
	l, err := startLoops()
	if err != nil {
		return p, err
	}
	defer l.end()
	var kept, busy [2][]float64
	for round := range rounds {
		for turn := range 2 { // who begins changes from round to round
			who := (turn + round) % 2
			var speed [2]float64 // without and with the loops
			for i, signal := range []syscall.Signal{syscall.SIGSTOP, syscall.SIGCONT} {
				if err := l.signal(signal); err != nil {
					return p, err
				}
				seconds, err := []side{ours, theirs}[who].seconds(a)
				if err != nil {
					return p, err
				}
				speed[i] = float64(a.count()) / seconds
			}
			kept[who] = append(kept[who], speed[1]/speed[0])
			busy[who] = append(busy[who], round1(speed[1]))
		}
	}
	p.Ours, p.Peers = busy[0], busy[1]
	p.compute()
	p.Kept, p.PeerKept = percent(median(kept[0])), percent(median(kept[1]))
	return p, nil
}

func percent(ratio float64) float64 { return math.Round(100*ratio) / 100 }
