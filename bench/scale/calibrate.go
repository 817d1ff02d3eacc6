package main

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/semantic-pod/semantic/bench/measure"
)

// The points at which a step is measured.
var (
	promptLengths = []int{2, 4, 8, 16, 32, 64, 128}
	togethers     = []int{2, 4, 8}
)

const (
	rounds      = 4
	repetitions = 2   // of each prompt in a round
	spoken      = 40  // tokens of an answer whose pace is measured
	settled     = 8   // of them are not looked at
	shortText   = 17  // tokens before an answer
	longText    = 800 // tokens before an answer, to see what they cost
)

// prompts makes prompts that have nothing in common.
type prompts struct{ used uint64 }

func (p *prompts) of(length int) []int32 {
	p.used++
	t := turn{conversation: int(p.used), prompts: []int{length}}
	return t.tokens(load{}, 1<<50)
}

// measureService measures one pod, with and without others beside it.
func measureService(p plan) (*service, error) {
	pods, err := startPods(p, 1)
	if err != nil {
		return nil, err
	}
	defer killPods(pods)
	q, fresh, seen := pods[0], &prompts{}, &sightings{}
	for round := range rounds + 1 {
		if round == 1 {
			seen = &sightings{} // the first one warmed up
		}
		if err := seen.look(q, fresh); err != nil {
			return nil, err
		}
	}
	s := seen.fit(p.shape.StepTokens)
	if err := s.measureDisk(q, fresh, p.shape); err != nil {
		return nil, err
	}
	return s, s.measureBeside(p, q, fresh)
}

// sightings are the seconds that were seen, of each kind a round's.
type sightings struct {
	early, late []float64         // between two tokens of an answer, to a short text and to a long one
	first       map[int][]float64 // until the first token, by the length of a prompt that is new
	together    map[int][]float64 // between two tokens, by how many answers there are at once
}

// look takes one round.
func (o *sightings) look(q *pod, fresh *prompts) error {
	if o.first == nil {
		o.first, o.together = map[int][]float64{}, map[int][]float64{}
	}
	early, err := q.between(1, fresh.of(shortText))
	if err != nil {
		return err
	}
	long := fresh.of(longText)
	a, err := q.ask("", long, 1)
	if err != nil {
		return err
	}
	o.first[longText] = append(o.first[longText], a.times[0].Seconds())
	late, err := q.between(1, long)
	if err != nil {
		return err
	}
	o.early, o.late = append(o.early, early), append(o.late, late)
	for _, length := range append([]int{1}, promptLengths...) {
		for range repetitions {
			a, err := q.ask("", fresh.of(length), 1)
			if err != nil {
				return err
			}
			o.first[length] = append(o.first[length], a.times[0].Seconds())
			time.Sleep(10 * time.Millisecond)
		}
	}
	for _, n := range togethers {
		took, err := q.between(n, fresh.of(shortText))
		if err != nil {
			return err
		}
		o.together[n] = append(o.together[n], took)
	}
	return nil
}

// fit finds the times that give what was seen. A prompt of one token is one step and all
// that is around a request.
func (o *sightings) fit(stepTokens int) *service {
	const middle = shortText + (spoken+settled)/2 // tokens before the one whose pace is seen
	s := &service{}
	s.Position = max(0, (median(o.late)-median(o.early))/(longText-shortText))
	s.Rows, s.Step = []int{1}, []float64{median(o.early) - s.Position*middle}
	s.Request = max(0, median(o.first[1])-s.Step[0])
	for _, length := range promptLengths {
		s.Rows, s.Step = append(s.Rows, length), append(s.Step, max(median(o.first[length])-s.Request, s.Step[len(s.Step)-1]))
	}
	s.Reading = s.reading(median(o.first[longText]), stepTokens)
	for i, length := range s.Rows { // what the tokens within the prompt itself cost is not the step's
		s.Step[i] -= s.Reading * float64(length*(length-1)/2)
	}
	var each float64
	for _, n := range togethers {
		each += (median(o.together[n]) - s.step(batch{rows: n, before: n * middle})) / float64(n-1) / float64(len(togethers))
	}
	s.Sample = max(0, each)
	return s
}

// reading compares a long prompt with as many short ones: only what lies before each
// step's tokens is between them.
func (s *service) reading(long float64, stepTokens int) float64 {
	rest, pairs := long-s.Request, 0
	for done := 0; done < longText; done += stepTokens {
		rows := min(stepTokens, longText-done)
		rest -= s.read(rows)
		pairs += rows * done
	}
	return max(0, rest/float64(pairs))
}

// between is how long lies between two tokens of an answer, with so many at once: the
// median of the answers.
func (q *pod) between(together int, prompt []int32) (float64, error) {
	gaps, errs := make([]float64, together), make([]error, together)
	if _, err := q.ask("", prompt, 1); err != nil { // so that all find it computed
		return 0, err
	}
	var asking sync.WaitGroup
	for i := range together {
		asking.Go(func() {
			a, err := q.ask("", prompt, spoken)
			if errs[i] = err; err == nil && len(a.times) > settled+1 {
				last := len(a.times) - 1
				gaps[i] = (a.times[last] - a.times[settled]).Seconds() / float64(last-settled)
			}
		})
	}
	asking.Wait()
	return median(gaps), errors.Join(errs...)
}

// untilFirst is the median time to the first token of prompts that are new.
func (q *pod) untilFirst(fresh *prompts, length int) (float64, error) {
	var samples []float64
	for range 2 * repetitions {
		a, err := q.ask("", fresh.of(length), 1)
		if err != nil {
			return 0, err
		}
		samples = append(samples, a.times[0].Seconds())
		time.Sleep(10 * time.Millisecond)
	}
	return median(samples), nil
}

// measureDisk lets agents come back that had to leave the pool, and asks the pod's own
// metrics how long writing and reading took.
func (s *service) measureDisk(q *pod, fresh *prompts, sh shape) error {
	const blocks = 12
	agents := 3 * sh.Blocks / blocks / 2
	texts := make([][]int32, agents)
	for i := range texts {
		texts[i] = fresh.of(blocks*sh.BlockToken + 2)
		if _, err := q.ask(fmt.Sprintf("old-%d", i), texts[i], 1); err != nil {
			return err
		}
	}
	read := 0
	for i := range agents / 3 {
		a, err := q.ask(fmt.Sprintf("old-%d", i), texts[i], 1)
		if err != nil {
			return err
		}
		read += a.cached / sh.BlockToken
	}
	for name, each := range map[string]*float64{"semantic_agent_restore_seconds": &s.Restore, "semantic_cache_persist_duration_seconds": &s.Persist} {
		sum, err := q.metric(name + "_sum")
		if err != nil {
			return err
		}
		count, err := q.metric(name + "_count")
		if err != nil {
			return err
		}
		if count < 3 || read == 0 {
			return fmt.Errorf("%s counts %g, and %d blocks were cached: too little to tell", name, count, read)
		}
		*each = sum / count / blocks
	}
	return nil
}

// measureBeside finds how much slower a pod is while others of the same machine compute.
func (s *service) measureBeside(p plan, q *pod, fresh *prompts) error {
	s.Slower = []float64{1}
	both := func() (read, speak float64, err error) {
		if read, err = q.untilFirst(fresh, 128); err == nil {
			speak, err = q.between(1, fresh.of(shortText))
		}
		return read, speak, err
	}
	read, speak, err := both()
	if err != nil {
		return err
	}
	others, err := startPods(plan{binary: p.binary, model: p.model, cgroup: p.cgroup, share: p.share, shape: p.shape, blockBytes: p.blockBytes, first: 1}, 2)
	if err != nil {
		return err
	}
	defer killPods(others)
	var busy sync.WaitGroup
	ends := make(chan struct{})
	defer busy.Wait()
	defer close(ends)
	for i, other := range others {
		busy.Go(func() {
			more := &prompts{used: uint64(i+1) << 30}
			for {
				select {
				case <-ends:
					return
				default:
					_, _ = other.ask("", more.of(64), 40)
				}
			}
		})
		slowRead, slowSpeak, err := both()
		if err != nil {
			return err
		}
		s.Slower = append(s.Slower, max(s.Slower[i], (slowRead/read+slowSpeak/speak)/2))
	}
	return nil
}

// median keeps the microseconds, which measure's rounds off seconds.
func median(seconds []float64) float64 {
	out := make([]float64, len(seconds))
	for i, v := range seconds {
		out[i] = 1e6 * v
	}
	return measure.Percentile(out, 50) / 1e6
}
