//go:build race

package engine

// raceEnabled: the race detector makes a sync.Pool forget what it is given at random, and all slow.
const raceEnabled = true
