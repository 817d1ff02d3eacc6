package alerts

import (
	"regexp"
	"slices"
)

var (
	quoted     = regexp.MustCompile(`"[^"]*"`)
	metricName = regexp.MustCompile(`\b(semantic[_:][a-zA-Z0-9_:]+|up)\b`)
)

// Metrics lists the scraped metrics in an expression, with those behind recorded
// series, whose expressions are given by name.
func Metrics(expr string, recorded map[string]string) []string {
	found := map[string]bool{}
	var names []string
	var walk func(string)
	walk = func(expr string) {
		for _, name := range metricName.FindAllString(quoted.ReplaceAllString(expr, ""), -1) {
			if found[name] {
				continue
			}
			found[name] = true
			if of, ok := recorded[name]; ok {
				walk(of)
				continue
			}
			names = append(names, name)
		}
	}
	walk(expr)
	slices.Sort(names)
	return names
}
