package limit

import "time"

// Reason says which limit refused a request: a label of semantic_rejected_total.
// The words are the limits' names in the key file.
type Reason string

// The reasons.
const (
	Admitted         Reason = ""
	RequestRate      Reason = "requests_per_second"
	Concurrency      Reason = "max_concurrent"
	TokenBudget      Reason = "tokens_per_minute"
	PromptOverBudget Reason = "prompt_above_tokens_per_minute" // no wait would help: a fault of the request
)

// Need is what a request asks for.
type Need struct {
	Prompt     int64 // tokens that the prompt may have
	Completion int64 // tokens that all its answers together may have

	// Patience is how long the request can wait for its turn, such as the time to
	// its deadline; 0 is as long as the line. Who would have to wait longer is
	// refused at once and takes no turn.
	Patience time.Duration
}

// bounded keeps numbers that come from clients within what sums can hold.
func (n Need) bounded() Need {
	n.Prompt = min(max(0, n.Prompt), maxTokensPerMinute+1)
	n.Completion = min(max(0, n.Completion), maxTokensPerMinute+1)
	return n
}

// Decision is the answer to a Need.
type Decision struct {
	Reason Reason // Admitted, or what refused it

	// RetryAfter, of a refused request: if the key does nothing else, a request that
	// comes this much later is admitted. Of Concurrency it is a guess, since nobody
	// knows when an answer ends; of PromptOverBudget it is 0.
	RetryAfter time.Duration

	// Wait, of an admitted request: it is its turn this much later.
	Wait time.Duration

	// Allowance is how many tokens the answers may have: at most what was asked for,
	// less if the budget has less. -1 is no bound.
	Allowance int64

	Requests, Tokens Standing
	Grant            Grant
}

// Standing is how much of a limit is left: what X-RateLimit-* tell. The zero
// Standing is that of a limit that is not set.
type Standing struct {
	Limit     int64         // what a key that was idle can do at once
	Remaining int64         // what it can do at once now
	Reset     time.Duration // until Remaining is Limit again, if it does nothing
}

// guess is the RetryAfter of Concurrency.
const guess = time.Second

// Grant is what an admitted request holds of its key until Settle.
type Grant struct {
	key      *Key // nil: nothing is held
	reserved int64
	budgeted bool // reserved came out of the key's budget
}

// Settle ends the request: its place among the concurrent ones is free, and of its
// tokens those that were really used are charged, the rest of the reservation comes
// back. It must be called once for every admitted request; more calls do nothing.
func (g *Grant) Settle(now time.Time, used int64) {
	k := g.key
	if k == nil {
		return
	}
	g.key = nil
	at := k.at(now)
	k.mu.Lock()
	defer k.mu.Unlock()
	k.running--
	if g.budgeted {
		k.budget.refill(at)
		k.budget.settle(g.reserved, max(0, used))
	}
}
