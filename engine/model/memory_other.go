//go:build !linux

package model

func adviseLargePages([]byte) {}
