// Package limit decides, for one API key at a time, whether a request may go on
// now, later or not at all: requests a second with a bounded waiting line, requests
// at once, and tokens a minute. It also slows the failed logins of one address.
//
// A decision looks at all limits of a key together and takes from all or from none,
// so that a refused request costs its key nothing. It takes the time as an argument:
// nothing in here reads a clock or sleeps. Times are compared on the monotonic
// clock, so that a step of the wall clock neither stalls a key nor frees it.
//
// Read: limit, decision, pacer, budget, key, table, lru, failures.
package limit

import (
	"fmt"
	"math"
	"time"
)

// Limits are what a key may do. A zero is no limit.
type Limits struct {
	RequestsPerSecond float64 `json:"requests_per_second,omitempty"` // fractions are fine: 0.5 is one request in two seconds
	Burst             int     `json:"burst,omitempty"`               // how many requests may wait for their turn
	TokensPerMinute   int64   `json:"tokens_per_minute,omitempty"`   // of prompts and answers together
	MaxConcurrent     int     `json:"max_concurrent,omitempty"`      // admitted and not ended, with those that wait for their turn
}

// Bounds of what a limit can be. They keep every sum below in 64 bits.
const (
	maxRequestsPerSecond = 1e6
	minRequestsPerSecond = 1e-5 // about one a day
	maxTokensPerMinute   = 1e12
	maxCount             = 1e6
	longestLine          = 24 * time.Hour
)

// Validate says which limit is wrong, by its name in the key file.
func (l Limits) Validate() error {
	rate := l.RequestsPerSecond
	switch {
	case rate != 0 && !(rate >= minRequestsPerSecond && rate <= maxRequestsPerSecond): // so that NaN fails too
		return fmt.Errorf("requests_per_second: %v is out of range: %v to %v", rate, minRequestsPerSecond, maxRequestsPerSecond)
	case l.Burst < 0 || l.Burst > maxCount:
		return fmt.Errorf("burst: %d is out of range: 0 to %v", l.Burst, int(maxCount))
	case l.Burst > 0 && rate == 0:
		return fmt.Errorf("burst: %d means nothing without requests_per_second", l.Burst)
	case rate > 0 && float64(l.Burst)/rate > longestLine.Seconds():
		return fmt.Errorf("burst: the last of %d requests would wait for more than %v at %v requests_per_second", l.Burst, longestLine, rate)
	case l.TokensPerMinute < 0 || l.TokensPerMinute > maxTokensPerMinute:
		return fmt.Errorf("tokens_per_minute: %d is out of range: 1 to %d", l.TokensPerMinute, int64(maxTokensPerMinute))
	case l.MaxConcurrent < 0 || l.MaxConcurrent > maxCount:
		return fmt.Errorf("max_concurrent: %d is out of range: 1 to %d", l.MaxConcurrent, int(maxCount))
	}
	return nil
}

// interval is the time between two requests at a rate, in nanoseconds.
func interval(requestsPerSecond float64) int64 {
	return int64(math.Round(float64(time.Second) / requestsPerSecond))
}
