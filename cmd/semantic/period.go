package main

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// period is a length of time for people: Go's units and days and weeks, such as
// 90d, 2w or 1d12h.
type period time.Duration

const (
	day           = 24 * time.Hour
	longestPeriod = 100 * 365 * day
)

var daysAndWeeks = regexp.MustCompile(`^(?:(\d{1,6})w)?(?:(\d{1,6})d)?(.*)$`)

// UnmarshalText parses "90d".
func (p *period) UnmarshalText(text []byte) error {
	in := strings.TrimSpace(string(text))
	m := daysAndWeeks.FindStringSubmatch(in)
	if m == nil || in == "" {
		return badPeriod(in)
	}
	weeks, _ := strconv.Atoi("0" + m[1])
	days, _ := strconv.Atoi("0" + m[2])
	sum := time.Duration(days+7*weeks) * day
	if days+7*weeks > int(longestPeriod/day) {
		return badPeriod(in)
	}
	if m[3] != "" {
		rest, err := time.ParseDuration(m[3])
		if err != nil || rest < 0 || rest > longestPeriod {
			return badPeriod(in)
		}
		sum += rest
	}
	*p = period(sum)
	return nil
}

func badPeriod(text string) error {
	return fmt.Errorf("%q is no period: write weeks, days, hours, minutes or seconds, such as 90d, 2w or 36h, up to 100 years", text)
}
