//go:build !race

package cold_test

var buildFlags []string
