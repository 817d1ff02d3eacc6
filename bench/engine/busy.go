package main

import (
	"os/exec"
	"runtime"
)

// underBusyLoops measures a case while another process loops on every core.
func underBusyLoops(ours, theirs side, a ask, rounds int) (p pair, err error) {
	for range runtime.NumCPU() {
		loop := exec.Command("sh", "-c", "while :; do :; done")
		if err := loop.Start(); err != nil {
			return p, err
		}
		defer func() {
			_ = loop.Process.Kill()
			_ = loop.Wait()
		}()
	}
	p, err = byTurns(ours, theirs, a, min(rounds, 3))
	p.Busy = true
	return p, err
}
