//go:build race

package proxy

// mostGarbage is how many allocations a request may cost: the race detector drops
// some of what is pooled, and its own count.
const mostGarbage = 20
