//go:build !race

package telemetry

// poolLoss is how many allocations a line may take although its buffers are pooled.
const poolLoss = 0
