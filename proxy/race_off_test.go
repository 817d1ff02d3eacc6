//go:build !race

package proxy

// mostGarbage is how many allocations a request may cost.
const mostGarbage = 2
