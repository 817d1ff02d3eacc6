//go:build race

package telemetry

// poolLoss is how many allocations a line may take although its buffers are pooled:
// under the race detector sync.Pool forgets on purpose.
const poolLoss = 3
