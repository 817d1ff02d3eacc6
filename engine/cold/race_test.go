//go:build race

package cold_test

// buildFlags let the pods look for races as the test does.
var buildFlags = []string{"-race"}
