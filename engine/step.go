package engine

import (
	"cmp"
	"math"
	"runtime"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/semantic-pod/semantic/engine/model"
)

// step computes one batch: the next token of every sequence that decodes, and a
// piece of the prompts that are still read.
func (s *scheduler) step() {
	began := time.Now()
	s.grow()
	decoding := s.plan(began)
	if err := s.model.Forward(s.kv, s.rows); err != nil {
		s.fail(err)
		return
	}
	s.sampled = s.sampled[:0]
	for _, seq := range s.running {
		s.metrics.promptComputed.Add(max(0, min(seq.computed+seq.chunk, seq.prompt)-seq.computed))
		seq.computed += seq.chunk
		seq.seal()
		if seq.pending() == 0 {
			seq.next = seq.pick()
			s.sampled = append(s.sampled, seq)
		}
	}
	now := time.Now()
	s.lastStep.Store(now.UnixNano())
	s.pace.Learn(now.Sub(began).Seconds(), decoding, len(s.rows)-decoding)
	if decoding > 0 {
		s.metrics.decodeStep.Update(now.Sub(began).Seconds())
	}
	s.metrics.tokenRate.Add(now, len(s.sampled))
	s.metrics.vllm.generatedTokens.Add(len(s.sampled))
	for _, seq := range s.sampled {
		s.deliver(seq, now)
	}
	s.settle()
	// The loop and its team keep every CPU: without this, whoever writes these tokens
	// out waits some steps more, and writes several together.
	runtime.Gosched()
}

// grow makes room for the next token of every sequence, the oldest first. When the
// pool is empty the youngest gives its blocks back and waits; it goes on later as
// if nothing had been. The oldest always moves, so all come to an end.
func (s *scheduler) grow() {
	for i := 0; i < len(s.running); i++ {
		for seq := s.running[i]; !s.grown(seq); {
			youngest := s.running[len(s.running)-1]
			s.preempt(youngest)
			if youngest == seq {
				break
			}
		}
	}
	s.publish()
}

// preempt takes the youngest sequence out of the batch. What it generated so far
// becomes part of what it reads when it comes back.
func (s *scheduler) preempt(youngest *sequence) {
	s.running = s.running[:len(s.running)-1]
	s.unseat(youngest)
	s.metrics.vllm.preemptions.Inc()
	s.preempted = slices.Insert(s.preempted, 0, youngest) // older than those that are in it
	s.log.Debug("preempted", zap.Int("tokens", len(youngest.tokens)), zap.Int("running", len(s.running)))
}

// plan fills the rows of the step and returns how many sequences decode.
func (s *scheduler) plan(now time.Time) (decoding int) {
	computing := 0
	s.prefills = s.prefills[:0]
	for _, seq := range s.running {
		seq.chunk = 0
		if seq.pending() == 1 {
			seq.chunk = 1
			decoding++
		} else {
			s.prefills = append(s.prefills, seq)
		}
	}
	s.share(s.pace.Chunk(decoding, s.stepTokens))
	s.rows = s.rows[:0]
	for _, seq := range s.running {
		if seq.chunk == 0 {
			continue
		}
		computing++
		if seq.times.start.IsZero() {
			seq.times.start = now
			s.metrics.queueWait.Update(seq.times.queue().Seconds())
		}
		for position := seq.computed; position < seq.computed+seq.chunk; position++ {
			s.rows = append(s.rows, model.Row{Token: seq.tokens[position], Position: position, Blocks: seq.chain.Blocks()})
		}
		if seq.chunk == seq.pending() {
			s.rows[len(s.rows)-1].Logits = seq.logits
		}
	}
	s.metrics.batchSize.Update(float64(computing))
	s.traceStep(computing)
	return decoding
}

// share splits the budget among the prompts that are read. Half is for the oldest,
// so that it is done in bounded time; the rest goes to the shortest remainders, so
// that a short prompt does not wait for a long one.
func (s *scheduler) share(budget int) {
	if len(s.prefills) == 0 {
		return
	}
	give := func(seq *sequence, most int) {
		n := min(seq.pending()-seq.chunk, most)
		seq.chunk += n
		budget -= n
	}
	give(s.prefills[0], (budget+1)/2)
	slices.SortStableFunc(s.prefills, func(a, b *sequence) int {
		return cmp.Compare(a.pending()-a.chunk, b.pending()-b.chunk)
	})
	for _, seq := range s.prefills {
		give(seq, budget)
	}
}

// deliver takes a sequence's next token into its answer.
func (s *scheduler) deliver(seq *sequence, now time.Time) {
	previous := seq.times.last
	finish, err := seq.accept(seq.next, s.words, now)
	s.metrics.tokensGenerated.Inc()
	if previous.IsZero() {
		s.metrics.prefill.Update(seq.times.prefill().Seconds())
	} else {
		gap := now.Sub(previous).Seconds()
		s.metrics.interToken.Update(gap)
		s.metrics.vllm.interToken.Update(gap)
	}
	if finish != "" {
		s.served(now.Sub(seq.times.start))
		s.conclude(seq, finish, err)
	}
}

// served smooths how long a request runs, for the hint to those that are refused.
func (s *scheduler) served(d time.Duration) {
	const weight = 0.1
	old := math.Float64frombits(s.serviceTime.Load())
	s.serviceTime.Store(math.Float64bits(old + weight*(d.Seconds()-old)))
}

// fail ends the whole batch: its KV memory may be half written.
func (s *scheduler) fail(err error) {
	s.log.Error("a step failed", zap.Error(err), zap.Int("running", len(s.running)), zap.Int("rows", len(s.rows)))
	for _, seq := range s.running {
		s.end(seq, errFault)
	}
	s.settle()
}
