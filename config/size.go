// Package config reads the settings of a process: each is a flag, an environment
// variable and a key of one YAML file, in that order of precedence.
//
// Read: size, source, yaml, print.
package config

import (
	"fmt"
	"strconv"
	"strings"
)

// Size is a number of bytes. As text it takes a plain number or one of the units
// KiB, MiB, GiB, TiB (1024) and KB, MB, GB, TB (1000).
type Size int64

var sizeUnits = []struct {
	suffix string
	factor int64
}{
	{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40},
	{"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"TB", 1e12}, {"B", 1},
}

// UnmarshalText parses "512KiB", "1.5GiB" or a plain number of bytes.
func (s *Size) UnmarshalText(text []byte) error {
	in := strings.TrimSpace(string(text))
	factor := int64(1)
	num := in
	for _, u := range sizeUnits {
		if n, ok := strings.CutSuffix(in, u.suffix); ok {
			num, factor = strings.TrimSpace(n), u.factor
			break
		}
	}
	v, err := strconv.ParseFloat(num, 64)
	if err != nil || !(v >= 0 && v*float64(factor) <= 1<<62) { // so that NaN fails too
		return fmt.Errorf("%q is no size: write a number with KiB, MiB, GiB or TiB, such as 64MiB", in)
	}
	*s = Size(v * float64(factor))
	return nil
}

// MarshalText returns the size in the largest binary unit that divides it.
func (s Size) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

func (s Size) String() string {
	for i := 3; i >= 0; i-- {
		if u := sizeUnits[i]; s != 0 && int64(s)%u.factor == 0 {
			return strconv.FormatInt(int64(s)/u.factor, 10) + u.suffix
		}
	}
	return strconv.FormatInt(int64(s), 10)
}
