package limit

import (
	"math/bits"
	"time"
)

// budget holds the tokens that a key may still use. It fills up evenly, to a
// minute's worth at most. All in whole tokens, with the parts of the next one kept
// beside, so that nothing is lost to rounding.
type budget struct {
	perMinute int64 // 0: no limit
	level     int64 // -perMinute to perMinute
	part      int64 // of the next token, in nanoseconds × perMinute
	since     int64 // when it was filled up last
}

const minute = int64(time.Minute)

// leastAnswer is how many tokens a clipped answer must have room for: a client can
// do more with a refusal that says when to come again than with a few words.
const leastAnswer = 64

// set changes the limit; what was used of the old one counts against the new one.
func (b *budget) set(perMinute, now int64) {
	if b.perMinute == perMinute {
		return
	}
	if b.perMinute == 0 || perMinute == 0 {
		*b = budget{perMinute: perMinute, level: perMinute, since: now}
		return
	}
	b.refill(now)
	used := b.perMinute - b.level
	b.perMinute, b.part = perMinute, 0
	b.level = max(-perMinute, perMinute-used)
}

// refill adds what came in since the last time.
func (b *budget) refill(now int64) {
	elapsed := now - b.since
	if elapsed <= 0 || b.perMinute == 0 {
		return
	}
	b.since = now
	elapsed = min(elapsed, 3*minute) // from the lowest level it takes two
	hi, lo := bits.Mul64(uint64(elapsed), uint64(b.perMinute))
	lo, carry := bits.Add64(lo, uint64(b.part), 0)
	tokens, part := bits.Div64(hi+carry, lo, uint64(minute))
	b.level += int64(tokens)
	b.part = int64(part)
	b.cap()
}

func (b *budget) cap() {
	if b.level >= b.perMinute {
		b.level, b.part = b.perMinute, 0
	}
}

// least is the level from which on a request is let in.
func (b *budget) least(n Need) int64 {
	return n.Prompt + min(n.Completion, leastAnswer)
}

// until is how long it takes until the level has risen to that one.
func (b *budget) until(level int64) time.Duration {
	missing := level - b.level
	if missing <= 0 {
		return 0
	}
	hi, lo := bits.Mul64(uint64(missing), uint64(minute))
	lo, borrow := bits.Sub64(lo, uint64(b.part), 0)
	took, rest := bits.Div64(hi-borrow, lo, uint64(b.perMinute))
	if rest > 0 {
		took++
	}
	return time.Duration(took)
}

// reserve takes what n needs, or what there is of it, and says how many tokens of
// that the answers have.
func (b *budget) reserve(n Need) (reserved, answers int64) {
	reserved = min(n.Prompt+n.Completion, b.level)
	b.level -= reserved
	return reserved, reserved - n.Prompt
}

// settle replaces a reservation by what was used. Only a prompt that has more tokens
// than was thought can cost more than its reservation, so the level can fall below
// zero, to a minute's worth at most: a key is never shut out for more than two
// minutes, and what it owes beyond that is forgiven.
func (b *budget) settle(reserved, used int64) {
	b.level += reserved - min(used, 1<<60)
	if b.level < -b.perMinute {
		b.level, b.part = -b.perMinute, 0
	}
	b.cap()
}

func (b *budget) standing() Standing {
	if b.perMinute == 0 {
		return Standing{}
	}
	return Standing{Limit: b.perMinute, Remaining: max(0, b.level), Reset: b.until(b.perMinute)}
}

// used is how much of a minute's worth is gone, from 0 to 1.
func (b *budget) used() float64 {
	if b.perMinute == 0 {
		return 0
	}
	return float64(b.perMinute-max(0, b.level)) / float64(b.perMinute)
}
