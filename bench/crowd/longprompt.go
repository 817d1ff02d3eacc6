package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/semantic-pod/semantic/bench/measure"
)

const (
	streaming   = 16
	longWords   = 3960 // nearly all are one token of the default model
	settle      = 1500 * time.Millisecond
	window      = 3 * time.Second
	longMinutes = 5 * time.Minute
)

// longPrompt is the time between two texts of those who are being answered, without and with a long
// prompt that is read meanwhile.
type longPrompt struct {
	Chats        int     `json:"chats"`
	PromptTokens int     `json:"prompt_tokens"`
	Rounds       []round `json:"rounds"`

	WithoutMS    measure.Spread `json:"without_ms"` // of the rounds' medians
	WithMS       measure.Spread `json:"with_ms"`
	WithoutP99MS measure.Spread `json:"without_p99_ms"`
	WithP99MS    measure.Spread `json:"with_p99_ms"`
	Ratio        measure.Spread `json:"ratio"` // of the rounds' own
	P99Ratio     measure.Spread `json:"p99_ratio"`
	FirstTokenS  measure.Spread `json:"first_token_s"` // of the long prompt
	AloneS       float64        `json:"alone_s"`       // the same with nobody beside it
}

// round is one long prompt. What it is compared with is measured before it and after it, since
// answers become slower as they grow.
type round struct {
	WithoutMS    float64 `json:"without_ms"`
	WithMS       float64 `json:"with_ms"`
	WithoutP99MS float64 `json:"without_p99_ms"`
	WithP99MS    float64 `json:"with_p99_ms"`
	Ratio        float64 `json:"ratio"`
	P99Ratio     float64 `json:"p99_ratio"`
	FirstTokenS  float64 `json:"first_token_s"`
}

func measureLongPrompt(p plan) (*longPrompt, error) {
	e, err := startEngine(p, "")
	if err != nil {
		return nil, err
	}
	defer e.Kill()
	l := &longPrompt{Chats: streaming}
	alone := e.chat(context.Background(), words(longWords), 1)
	if alone.err != nil {
		return nil, alone.err
	}
	l.PromptTokens, l.AloneS = alone.prompt, measure.Round(alone.firstSeconds())
	for range p.rounds {
		r, err := e.longRound()
		if err != nil {
			return nil, err
		}
		l.Rounds = append(l.Rounds, r)
	}
	for _, f := range []struct {
		spread *measure.Spread
		of     func(round) float64
	}{
		{&l.WithoutMS, func(r round) float64 { return r.WithoutMS }}, {&l.WithMS, func(r round) float64 { return r.WithMS }},
		{&l.WithoutP99MS, func(r round) float64 { return r.WithoutP99MS }}, {&l.WithP99MS, func(r round) float64 { return r.WithP99MS }},
		{&l.Ratio, func(r round) float64 { return r.Ratio }}, {&l.P99Ratio, func(r round) float64 { return r.P99Ratio }},
		{&l.FirstTokenS, func(r round) float64 { return r.FirstTokenS }},
	} {
		var all []float64
		for _, r := range l.Rounds {
			all = append(all, f.of(r))
		}
		*f.spread = measure.SpreadOf(all)
	}
	return l, e.stop()
}

// longRound lets some chats stream, and one long prompt come to them.
func (e *engine) longRound() (r round, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), longMinutes)
	defer cancel()
	chats := make([]*stream, streaming)
	var wg sync.WaitGroup
	for i := range chats {
		chats[i] = &stream{sent: time.Now()}
		wg.Go(func() { chats[i].err = e.read(ctx, chats[i], "Tell a very long story about a "+words(12)+".", 4000) })
	}
	for _, c := range chats {
		for !c.begun() {
			if ctx.Err() != nil {
				return r, errors.New("a chat did not begin")
			}
			time.Sleep(time.Millisecond)
		}
	}
	time.Sleep(settle)
	began := time.Now()
	time.Sleep(window)
	sent := time.Now()
	long := e.chat(ctx, words(longWords), 1)
	if long.err != nil {
		return r, long.err
	}
	first := long.events[0]
	time.Sleep(settle)
	after := time.Now()
	time.Sleep(window)
	end := time.Now()
	var without, with []float64
	for _, c := range chats {
		without = append(append(without, c.gaps(began, sent)...), c.gaps(after, end)...)
		with = append(with, c.gaps(sent, first)...)
	}
	cancel()
	wg.Wait()
	for _, c := range chats {
		if c.err != nil && !errors.Is(c.err, context.Canceled) {
			return r, fmt.Errorf("a chat ended early: %w", c.err)
		}
		if c.finish != "" {
			return r, fmt.Errorf("a chat ended with %s before it was over", c.finish)
		}
	}
	r = round{
		WithoutMS: measure.Percentile(without, 50), WithMS: measure.Percentile(with, 50),
		WithoutP99MS: measure.Percentile(without, 99), WithP99MS: measure.Percentile(with, 99),
		FirstTokenS: measure.Round(first.Sub(sent).Seconds()),
	}
	r.Ratio, r.P99Ratio = measure.Round(r.WithMS/r.WithoutMS), measure.Round(r.WithP99MS/r.WithoutP99MS)
	return r, nil
}

// firstSeconds is the time to the first text.
func (s *stream) firstSeconds() float64 { return s.events[0].Sub(s.sent).Seconds() }
