package limit

import (
	"math/big"
	"math/rand/v2"
	"testing"
	"time"
)

// exactBudget is the budget in fractions, told in another way.
type exactBudget struct {
	perMinute int64
	level     *big.Rat
}

func (e *exactBudget) add(tokens *big.Rat) {
	e.level = new(big.Rat).Add(e.level, tokens)
	top, bottom := big.NewRat(e.perMinute, 1), big.NewRat(-e.perMinute, 1)
	if e.level.Cmp(top) > 0 {
		e.level = top
	}
	if e.level.Cmp(bottom) < 0 {
		e.level = bottom
	}
}

func (e *exactBudget) pass(ns int64) {
	e.add(new(big.Rat).Mul(big.NewRat(ns, minute), big.NewRat(e.perMinute, 1)))
}

func (e *exactBudget) floor() int64 {
	q, m := new(big.Int).DivMod(e.level.Num(), e.level.Denom(), new(big.Int))
	_ = m
	return q.Int64()
}

// TestTokensAddUpExactly runs random schedules of reservations and settlements
// beside the same sums in fractions.
func TestTokensAddUpExactly(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for range 50 {
		perMinute := []int64{1, 7, 60, 1000, 60_000, 999_983, 1e12}[r.IntN(7)]
		k, exact := keyWith(Limits{TokensPerMinute: perMinute}), &exactBudget{perMinute, big.NewRat(perMinute, 1)}
		now, open := start, []Grant(nil)
		for range 400 {
			pause := r.Int64N(minute >> r.IntN(30))
			now = now.Add(time.Duration(pause))
			exact.pass(pause)
			if len(open) > 0 && r.IntN(2) == 0 {
				g := open[0]
				open = open[1:]
				used := r.Int64N(2*g.reserved + 1)
				g.Settle(now, used)
				exact.add(big.NewRat(g.reserved-used, 1))
			} else {
				need := Need{Prompt: r.Int64N(perMinute + 1), Completion: 1 + r.Int64N(perMinute)}
				before := exact.floor()
				d := k.Admit(now, need)
				admit := before >= need.Prompt+min(need.Completion, leastAnswer)
				if (d.Reason == Admitted) != admit {
					t.Fatalf("%d per minute, %d left, %+v: %+v", perMinute, before, need, d)
				}
				if d.Reason == Admitted {
					if want := min(need.Completion, before-need.Prompt); d.Allowance != want {
						t.Fatalf("%d left, %+v: allowance %d, want %d", before, need, d.Allowance, want)
					}
					exact.add(big.NewRat(-need.Prompt-d.Allowance, 1))
					open = append(open, d.Grant)
				}
			}
			if k.budget.level != exact.floor() {
				t.Fatalf("%d per minute: level %d, exactly it is %s", perMinute, k.budget.level, exact.level.FloatString(9))
			}
		}
	}
}

// TestNoScheduleUsesMoreTokensThanTheBudget tries random clients that use what they
// may: since the start never more than a full budget and what came in.
func TestNoScheduleUsesMoreTokensThanTheBudget(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	for range 100 {
		perMinute := int64(500 + r.IntN(5000))
		k, now, used, open := keyWith(Limits{TokensPerMinute: perMinute}), start, int64(0), []Decision(nil)
		for range 500 {
			now = now.Add(time.Duration(r.Int64N(int64(5 * time.Second))))
			if len(open) > 0 && r.IntN(3) == 0 {
				d := open[0]
				open = open[1:]
				u := r.Int64N(d.Grant.reserved + 1)
				d.Grant.Settle(now, u)
				used += u
			} else if d := k.Admit(now, Need{Prompt: r.Int64N(200), Completion: 1 + r.Int64N(2000)}); d.Reason == Admitted {
				open = append(open, d)
			}
			if most := perMinute + int64(now.Sub(start).Minutes()*float64(perMinute)) + 1; used > most {
				t.Fatalf("%d per minute: %d used after %v", perMinute, used, now.Sub(start))
			}
		}
	}
}

func TestAnswerIsClippedToWhatIsLeft(t *testing.T) {
	k := keyWith(Limits{TokensPerMinute: 1000})
	first := k.Admit(start, Need{Prompt: 100, Completion: 500})
	if first.Allowance != 500 || first.Tokens != (Standing{1000, 400, 36 * time.Second}) {
		t.Fatalf("%+v", first)
	}
	second := k.Admit(start, Need{Prompt: 100, Completion: 500})
	if second.Reason != Admitted || second.Allowance != 300 {
		t.Fatalf("%+v", second)
	}
	third := k.Admit(start, Need{Prompt: 10, Completion: 1})
	if third.Reason != TokenBudget || third.RetryAfter != 660*time.Millisecond {
		t.Fatalf("%+v", third)
	}
	first.Grant.Settle(start, 150)
	if d := k.Peek(start, Need{}); d.Tokens.Remaining != 450 {
		t.Errorf("after the refund: %+v", d.Tokens)
	}
	second.Grant.Settle(start, 700)
	if d := k.Peek(start, Need{}); d.Tokens.Remaining != 150 {
		t.Errorf("after the charge: %+v", d.Tokens)
	}
}

func TestAFewWordsAreNoAnswer(t *testing.T) {
	k := keyWith(Limits{TokensPerMinute: 1000})
	k.Admit(start, Need{Prompt: 940}) // leaves 60
	d := k.Admit(start, Need{Completion: 500})
	if d.Reason != TokenBudget || d.RetryAfter != 240*time.Millisecond {
		t.Fatalf("an answer of 60 of 500 tokens: %+v", d)
	}
	if d := k.Admit(start, Need{Completion: 60}); d.Reason != Admitted {
		t.Errorf("an answer that needs no more: %+v", d)
	}
}

func TestDebtIsBounded(t *testing.T) {
	k := keyWith(Limits{TokensPerMinute: 600})
	for range 3 {
		d := k.Admit(start, Need{Prompt: 1})
		d.Grant.Settle(start, 250)
	}
	if k.budget.level != -150 {
		t.Fatalf("level %d", k.budget.level)
	}
	if d := k.Peek(start, Need{Prompt: 1}); d.Reason != TokenBudget || d.RetryAfter != 15100*time.Millisecond || d.Tokens.Remaining != 0 {
		t.Errorf("in debt: %+v", d)
	}
	k = keyWith(Limits{TokensPerMinute: 600})
	d := k.Admit(start, Need{Prompt: 1})
	d.Grant.Settle(start, 1<<62)
	if k.budget.level != -600 {
		t.Errorf("level %d after more than any budget was used", k.budget.level)
	}
	if d := k.Admit(start.Add(2*time.Minute), Need{Prompt: 600}); d.Reason != Admitted {
		t.Errorf("two minutes later: %+v", d)
	}
}

func TestPromptAboveTheBudgetIsToldFromOneThatComesTooSoon(t *testing.T) {
	k := keyWith(Limits{TokensPerMinute: 600})
	if d := k.Admit(start, Need{Prompt: 600, Completion: 1}); d.Reason != PromptOverBudget || d.RetryAfter != 0 {
		t.Errorf("%+v", d)
	}
	if d := k.Admit(start, Need{Prompt: 1 << 62, Completion: 1 << 62}); d.Reason != PromptOverBudget {
		t.Errorf("%+v", d)
	}
	if d := k.Admit(start, Need{Prompt: 599, Completion: 1}); d.Reason != Admitted {
		t.Errorf("%+v", d)
	}
}

func TestRequestWithoutTokensNeedsNoBudget(t *testing.T) {
	k := keyWith(Limits{TokensPerMinute: 600})
	k.Admit(start, Need{Prompt: 600})
	d := k.Admit(start, Need{})
	if d.Reason != Admitted || d.Allowance != -1 {
		t.Fatalf("%+v", d)
	}
	d.Grant.Settle(start, 100)
	if k.budget.level != 0 {
		t.Errorf("level %d", k.budget.level)
	}
}
