package proxy

import (
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/semantic-pod/semantic/api"
	"github.com/semantic-pod/semantic/proxy/limit"
)

// limit refuses what its key could not pay for however small it is, before its body
// is read.
func (p *Proxy) limit(x *exchange, next handler) {
	if x.limited() && p.shared == nil { // one that is away has to be asked now and then
		need := limit.Need{Patience: p.patience(x)}
		if x.route.tokens {
			need.Prompt, need.Completion = 1, 1
		}
		if x.decision = x.who.Limit.Peek(x.passed[authenticated], need); x.decision.Reason != limit.Admitted {
			p.refuseByKey(x)
			return
		}
	}
	next(x)
}

// limited reports whether a key's limits hold the request up. Those who run the
// server are not to be locked out of it.
func (x *exchange) limited() bool { return x.who != nil && !x.route.admin }

// patience is how long the request can wait for its turn: 0, for as long as the line
// is, where nobody waits.
func (p *Proxy) patience(x *exchange) time.Duration {
	if p.cfg.LimitNoDelay {
		return 0
	}
	return max(time.Nanosecond, p.cfg.RequestTimeout-time.Since(x.start))
}

// refuseByKey answers with the limit that the key is at.
func (p *Proxy) refuseByKey(x *exchange) {
	d := &x.decision
	p.meters.refusedByKey[d.Reason].Inc()
	if d.Reason == limit.PromptOverBudget {
		x.fail(&api.Error{Status: http.StatusBadRequest, Code: string(d.Reason), Message: fmt.Sprintf(
			"the prompt alone has more tokens than the API key %s may use in a minute (tokens_per_minute: %d): shorten it", x.who.Key, x.who.Limits.TokensPerMinute)})
		return
	}
	x.fail(&api.Error{Status: http.StatusTooManyRequests, Code: "rate_limit_exceeded", RetryAfter: d.RetryAfter,
		Message: fmt.Sprintf("the API key %s is at its limit of %s: try again in %s s", x.who.Key, limitOf(x.who.Limits, d.Reason), seconds(d.RetryAfter))})
}

func limitOf(l limit.Limits, r limit.Reason) string {
	switch r {
	case limit.Concurrency:
		return fmt.Sprintf("%d requests at once (%s)", l.MaxConcurrent, r)
	case limit.TokenBudget:
		return fmt.Sprintf("%d tokens a minute (%s)", l.TokensPerMinute, r)
	}
	return fmt.Sprintf("%v requests a second with a burst of %d (%s)", l.RequestsPerSecond, l.Burst, r)
}

// appendStanding writes the headers that tell a client how much of its key's limits
// is left. Resets are in whole seconds.
func appendStanding(b []byte, d *limit.Decision) []byte {
	if s := &d.Requests; s.Limit > 0 {
		b = appendOne(b, s, requestsNames, requestsNamesToo)
	}
	if s := &d.Tokens; s.Limit > 0 {
		b = appendOne(b, s, tokensNames)
	}
	return b
}

// standingNames are the headers of a limit, of what is left of it and of when it is whole
// again.
type standingNames [3]string

var (
	requestsNames    = standingNames{"X-RateLimit-Limit: ", "X-RateLimit-Remaining: ", "X-RateLimit-Reset: "}
	requestsNamesToo = standingNames{"X-RateLimit-Limit-Requests: ", "X-RateLimit-Remaining-Requests: ", "X-RateLimit-Reset-Requests: "}
	tokensNames      = standingNames{"X-RateLimit-Limit-Tokens: ", "X-RateLimit-Remaining-Tokens: ", "X-RateLimit-Reset-Tokens: "}
)

// appendOne writes a limit under each of the names that clients know it by.
func appendOne(b []byte, s *limit.Standing, under ...standingNames) []byte {
	var room [20]byte
	for i, n := range [3]int64{s.Limit, s.Remaining, int64((s.Reset + time.Second - 1) / time.Second)} {
		number := strconv.AppendInt(room[:0], n, 10)
		for _, names := range under {
			b = append(append(append(b, names[i]...), number...), "\r\n"...)
		}
	}
	return b
}
