package shared

import (
	"context"
	_ "embed"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/semantic-pod/semantic/proxy/limit"
)

//go:embed admit.lua
var admitSource string

var admitScript = redis.NewScript(admitSource)

// leastAnswer is as in package limit: an answer must have room for so many tokens.
const leastAnswer = 64

// Request is what is decided on.
type Request struct {
	Name   string // of whose limits they are
	ID     string // of the request, among those of all proxies
	Limits limit.Limits
	Need   limit.Need
	Lease  time.Duration // after which its place is free though it was never settled
}

// reasons are those of admit.lua.
var reasons = []limit.Reason{limit.Admitted, limit.Concurrency, limit.RequestRate, limit.TokenBudget, limit.PromptOverBudget}

// Grant is what an admitted request holds in the store until Settle; the zero one
// holds nothing.
type Grant struct {
	store *Store
	s     settlement
}

// Admit decides on r. It reports false when the store is away: then nothing was
// decided.
func (s *Store) Admit(r *Request) (limit.Decision, Grant, bool) {
	if !s.mayTry(time.Now()) {
		return limit.Decision{}, Grant{}, false
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	l, step := r.Limits, 0.0
	if l.RequestsPerSecond > 0 {
		step = 1e6 / l.RequestsPerSecond
	}
	names := namesOf(r.Name)
	got, err := admitScript.Run(ctx, s.client, names[:],
		format(step), format(step*float64(l.Burst)), micros(r.Need.Patience),
		l.TokensPerMinute, r.Need.Prompt, r.Need.Completion, r.Need.Prompt+min(r.Need.Completion, leastAnswer),
		l.MaxConcurrent, r.ID, micros(r.Lease)).Int64Slice()
	if err == nil && (len(got) != 7 || got[0] < 0 || got[0] >= int64(len(reasons))) {
		err = fmt.Errorf("the store answered %v", got)
	}
	s.heard(err, false)
	if err != nil {
		return limit.Decision{}, Grant{}, false
	}
	d := limit.Decision{Reason: reasons[got[0]], RetryAfter: duration(got[1]), Wait: duration(got[2]), Allowance: got[3]}
	d.Requests, d.Tokens = requestsStanding(l, step, got[4]), tokensStanding(l, got[5])
	if d.Reason != limit.Admitted {
		return d, Grant{}, true
	}
	g := Grant{store: s, s: settlement{name: r.Name, id: r.ID, perMinute: l.TokensPerMinute, reserved: got[6]}}
	if l.TokensPerMinute == 0 || r.Need.Prompt+r.Need.Completion == 0 {
		g.s.reserved = unbudgeted
		if l.MaxConcurrent == 0 {
			g.store = nil // nothing to settle
		}
	}
	return d, g, true
}

// namesOf are the keys in the store of one key's limits; the braces keep them on one
// node of a cluster.
func namesOf(name string) [3]string {
	at := "semantic:limit:{" + name + "}:"
	return [3]string{at + "turn", at + "tokens", at + "running"}
}

func requestsStanding(l limit.Limits, step float64, nextMicros int64) limit.Standing {
	if step == 0 {
		return limit.Standing{}
	}
	s := limit.Standing{Limit: int64(l.Burst) + 1, Reset: duration(nextMicros)}
	if room := step*float64(l.Burst) - float64(nextMicros); room >= 0 {
		s.Remaining = int64(room/step) + 1
	}
	return s
}

func tokensStanding(l limit.Limits, level int64) limit.Standing {
	if l.TokensPerMinute == 0 {
		return limit.Standing{}
	}
	missing := float64(l.TokensPerMinute-level) / float64(l.TokensPerMinute)
	return limit.Standing{Limit: l.TokensPerMinute, Remaining: max(0, level), Reset: time.Duration(missing * float64(time.Minute))}
}

func format(v float64) string         { return strconv.FormatFloat(v, 'f', 3, 64) }
func micros(d time.Duration) int64    { return int64((d + time.Microsecond - 1) / time.Microsecond) }
func duration(us int64) time.Duration { return time.Duration(us) * time.Microsecond }
