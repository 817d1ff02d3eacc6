package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
)

// period is how often a pod gets its share of a core, in microseconds. The kernel's own
// 100 ms would let a pod stand still for longer than its steps take.
const period = 2_000

// newGroup makes a control group that gets so much of a core, before all others that want
// one, in the version of control groups that the folder is of.
func newGroup(parent, name string, share float64) (string, error) {
	dir := filepath.Join(parent, name)
	if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
		return "", fmt.Errorf("cannot bound a pod's CPU: %w; --cgroup needs a folder of the cpu controller in which groups can be made", err)
	}
	quota := strconv.Itoa(int(share * period))
	files := [][2]string{{"cpu.max", quota + " " + strconv.Itoa(period)}, {"cpu.weight", "10000"}}
	if _, err := os.Stat(filepath.Join(dir, "cpu.cfs_quota_us")); err == nil {
		files = [][2]string{{"cpu.cfs_period_us", strconv.Itoa(period)}, {"cpu.cfs_quota_us", quota}, {"cpu.shares", "262144"}}
	}
	for _, file := range files {
		if err := os.WriteFile(filepath.Join(dir, file[0]), []byte(file[1]), 0o644); err != nil {
			return "", fmt.Errorf("cannot bound a pod's CPU: %w", err)
		}
	}
	return dir, nil
}
