//go:build !amd64

package kernel

// native returns the assembly variants of this CPU: none yet.
func native() []*Variant { return nil }
