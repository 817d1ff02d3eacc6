package limit

import (
	"sync"
	"time"
)

// Key is one key's limits and what it has used of them. It outlives a reading of
// the key file.
//
// Its layout matters: with many keys a decision costs what it takes to fetch this
// from memory. It is two lines of the cache, and table, which is read before the
// lock is taken, stands in the second, so that both are fetched at once.
type Key struct {
	mu            sync.Mutex
	running, most int32 // requests at once; most 0 is no limit
	pacer         pacer

	budget budget
	table  *Table
	_      [24]byte // 128 is a size at which the allocator aligns to lines
}

func newKey(t *Table, now time.Time, l Limits) *Key {
	k := &Key{table: t}
	k.set(now, l)
	return k
}

// set changes the limits and keeps what was used of them.
func (k *Key) set(now time.Time, l Limits) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.most = int32(l.MaxConcurrent)
	k.pacer.set(l.RequestsPerSecond, l.Burst)
	k.budget.set(l.TokensPerMinute, k.at(now))
}

// at is now in nanoseconds since the table was made, above 0 since the library
// takes 0 for never.
func (k *Key) at(now time.Time) int64 { return max(1, int64(now.Sub(k.table.epoch))) }

// Admit decides on a request, and takes what it needs if it is admitted. Then its
// Grant must be settled.
func (k *Key) Admit(now time.Time, need Need) Decision {
	at, need := k.at(now), need.bounded()
	k.mu.Lock()
	defer k.mu.Unlock()
	d := k.judge(at, need)
	if d.Reason == Admitted {
		k.take(&d, at, need)
	}
	d.Requests, d.Tokens = k.pacer.standing(at), k.budget.standing()
	return d
}

// Peek decides without taking anything: whether a request that needs this at least
// is worth being read.
func (k *Key) Peek(now time.Time, need Need) Decision {
	at, need := k.at(now), need.bounded()
	k.mu.Lock()
	defer k.mu.Unlock()
	d := k.judge(at, need)
	d.Requests, d.Tokens = k.pacer.standing(at), k.budget.standing()
	return d
}

// judge holds need against all limits. The first that refuses is the reason; the
// request may come again when the last one would let it in.
func (k *Key) judge(at int64, need Need) Decision {
	d := Decision{Allowance: -1}
	if k.most > 0 && k.running >= k.most {
		d.refuse(Concurrency, guess)
	}
	if over := k.pacer.over(at, need.Patience); over > 0 {
		d.refuse(RequestRate, over)
	}
	k.budget.refill(at)
	if k.budgets(need) {
		least := k.budget.least(need)
		if least > k.budget.perMinute {
			return Decision{Reason: PromptOverBudget, Allowance: -1}
		}
		if wait := k.budget.until(least); wait > 0 {
			d.refuse(TokenBudget, wait)
		}
	}
	return d
}

func (d *Decision) refuse(r Reason, retryAfter time.Duration) {
	if d.Reason == Admitted {
		d.Reason = r
	}
	d.RetryAfter = max(d.RetryAfter, retryAfter)
}

// budgets says whether need comes out of the token budget.
func (k *Key) budgets(need Need) bool {
	return k.budget.perMinute > 0 && need.Prompt+need.Completion > 0
}

func (k *Key) take(d *Decision, at int64, need Need) {
	k.running++
	d.Grant.key = k
	if k.pacer.turns != nil {
		turn := k.pacer.take(at)
		if !k.table.noDelay {
			d.Wait = time.Duration(turn - at)
		}
	}
	if k.budgets(need) {
		d.Grant.budgeted = true
		d.Grant.reserved, d.Allowance = k.budget.reserve(need)
	}
}

// Used is how much of the limit that is nearest to its end is used, from 0 to 1: a
// key's semantic_key_limit_used_ratio.
func (k *Key) Used(now time.Time) float64 {
	at := k.at(now)
	k.mu.Lock()
	defer k.mu.Unlock()
	k.budget.refill(at)
	used := max(k.pacer.used(at), k.budget.used())
	if k.most > 0 {
		used = max(used, min(1, float64(k.running)/float64(k.most)))
	}
	return used
}
