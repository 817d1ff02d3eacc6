package sidecar

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Age is a time span as retention needs it: a duration, or a number of days as in
// "365d" or "1.5d".
type Age time.Duration

const day = 24 * time.Hour

// UnmarshalText parses "365d", "36h" or "0".
func (a *Age) UnmarshalText(text []byte) error {
	in := strings.TrimSpace(string(text))
	if num, ok := strings.CutSuffix(in, "d"); ok {
		days, err := strconv.ParseFloat(num, 64)
		if err != nil || !(days >= 0 && days <= 100*365.25) { // so that NaN fails too
			return fmt.Errorf("%q is no age: write days or hours, such as 30d or 36h", in)
		}
		*a = Age(days * float64(day))
		return nil
	}
	d, err := time.ParseDuration(in)
	if err != nil || d < 0 {
		return fmt.Errorf("%q is no age: write days or hours, such as 30d or 36h", in)
	}
	*a = Age(d)
	return nil
}

// MarshalText returns the age in days if that is a whole number.
func (a Age) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

func (a Age) String() string {
	if d := time.Duration(a); d != 0 && d%day == 0 {
		return strconv.FormatInt(int64(d/day), 10) + "d"
	}
	return time.Duration(a).String()
}
