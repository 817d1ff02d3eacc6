package main

import (
	"math/rand/v2"
)

// load is what comes to each pod: agents that take turns, each of which goes on with all
// that was said before. Lengths are in tokens.
type load struct {
	Agents    int     `json:"agents_per_pod"` // that talk at once
	Rate      float64 `json:"turns_per_second_per_pod"`
	Shared    int     `json:"shared_prefix_tokens"` // by all agents
	First     int     `json:"first_prompt_tokens"`  // of an agent's own, after the shared ones
	UserLeast int     `json:"least_tokens_said"`
	UserMost  int     `json:"most_tokens_said"`
	Answer    int     `json:"answer_tokens"`
	Turns     int     `json:"turns_of_a_conversation"` // then another one begins in its place
}

// turn is one request.
type turn struct {
	at           float64 // seconds; it waits for the conversation's turn before
	conversation int
	prompts      []int // lengths of the conversation's prompts up to this one
	answer       int
}

func (t *turn) prompt() int { return t.prompts[len(t.prompts)-1] }

// dialogue is an agent's conversation that goes on.
type dialogue struct {
	id      int
	prompts []int
}

// turnsOf draws the turns of so many seconds: they come as a Poisson process, each from
// any of the agents. An agent may be in the middle of its conversation at the beginning.
func turnsOf(l load, pods int, seconds float64, seed uint64) []turn {
	rng := rand.New(rand.NewPCG(seed, uint64(pods)))
	talks := make([]dialogue, l.Agents*pods)
	begun := 0
	begin := func() dialogue {
		d := dialogue{id: begun, prompts: make([]int, 1, l.Turns)}
		d.prompts[0] = l.Shared + l.First
		begun++
		return d
	}
	next := func(d *dialogue) {
		if len(d.prompts) == l.Turns {
			*d = begin()
			return
		}
		said := l.UserLeast + rng.IntN(l.UserMost-l.UserLeast+1)
		d.prompts = append(d.prompts, d.prompts[len(d.prompts)-1]+l.Answer+said)
	}
	for i := range talks {
		talks[i] = begin()
		for range rng.IntN(l.Turns) {
			next(&talks[i])
		}
	}
	var turns []turn
	for at := rng.ExpFloat64() / (l.Rate * float64(pods)); at < seconds; at += rng.ExpFloat64() / (l.Rate * float64(pods)) {
		d := &talks[rng.IntN(len(talks))]
		turns = append(turns, turn{at: at, conversation: d.id, prompts: d.prompts[:len(d.prompts):len(d.prompts)], answer: l.Answer})
		next(d)
	}
	return turns
}

// The tokens of a prompt: words by chance, and in place of each answer the one word that
// the model is made to answer with.
const (
	firstWord = 1_000
	words     = 20_000
	said      = 2_000 // the word
)

// tokens returns the prompt of a turn. Two runs share none.
func (t *turn) tokens(l load, run uint64) []int32 {
	tokens := make([]int32, t.prompt())
	for i := range tokens {
		whose := uint64(t.conversation)
		if i < l.Shared {
			whose = 1 << 40
		}
		tokens[i] = int32(firstWord + mix(run, whose, uint64(i))%words)
	}
	for _, end := range t.prompts[:len(t.prompts)-1] {
		for i := end; i < end+t.answer; i++ {
			tokens[i] = said
		}
	}
	return tokens
}

// mix is a hash of numbers (splitmix64's steps).
func mix(values ...uint64) uint64 {
	var h uint64 = 0x9e3779b97f4a7c15
	for _, v := range values {
		h = (h ^ v) + 0x9e3779b97f4a7c15
		h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
		h = (h ^ h>>27) * 0x94d049bb133111eb
		h ^= h >> 31
	}
	return h
}
