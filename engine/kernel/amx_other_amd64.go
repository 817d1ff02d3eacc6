//go:build !linux

package kernel

func amxAllowed() bool { return false }
