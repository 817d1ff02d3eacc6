package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/semantic-pod/semantic/bench/measure"
)

const (
	fullChats   = 256
	fullTokens  = 512 // of each answer
	fullMinutes = time.Hour
	mib         = 1 << 20
)

// fullFlags keep the whole within 2 GiB: 256 times a prompt of a few words and its answer, in bytes.
var fullFlags = []string{"--kv-type", "q8", "--kv-memory", "1700MiB", "--max-batch", "256", "--threads", "2"}

// full is many chats that stream at once.
type full struct {
	Chats        int      `json:"chats"`
	AnswerTokens int      `json:"answer_tokens"`
	Flags        []string `json:"flags"`
	Limit        string   `json:"control_group,omitempty"` // of memory, in bytes

	Served          int            `json:"served_whole"` // got all their tokens
	Seconds         float64        `json:"seconds"`      // from the first request to the last token
	TokensPerSecond float64        `json:"tokens_per_second"`
	ChatS           measure.Spread `json:"chat_s"`
	FirstTokenS     measure.Spread `json:"first_token_s"`
	LongestSilenceS measure.Spread `json:"longest_silence_s"` // between two texts, of each chat the longest
	Preemptions     int            `json:"preemptions"`

	Resident      measure.Memory `json:"resident"` // of the engine, at most
	WeightMiB     float64        `json:"weights_mib"`
	KVMiB         float64        `json:"kv_mib"` // the budget
	ResidentRatio float64        `json:"resident_ratio"`
}

func measureFull(p plan) (*full, error) {
	e, err := startEngine(p, p.cgroup, fullFlags...)
	if err != nil {
		return nil, err
	}
	defer e.Kill()
	f := &full{Chats: fullChats, AnswerTokens: fullTokens, Flags: fullFlags}
	if f.Limit, err = limitOf(p.cgroup); err != nil {
		return nil, err
	}
	loaded, err := e.loaded()
	if err != nil {
		return nil, err
	}
	f.WeightMiB, f.KVMiB = measure.Round(loaded.Weights/mib), measure.Round(loaded.KV/mib)
	ctx, cancel := context.WithTimeout(context.Background(), fullMinutes)
	defer cancel()
	watch, ended := make(chan error, 1), make(chan struct{})
	go func() { watch <- f.watch(e.Cmd.Process.Pid, ended) }()
	chats := make([]*stream, fullChats)
	var wg sync.WaitGroup
	began := time.Now()
	for i := range chats {
		wg.Go(func() { chats[i] = e.chat(ctx, "Tell a very long story about a "+words(16)+".", fullTokens) })
	}
	wg.Wait()
	f.Seconds = measure.Round(time.Since(began).Seconds())
	close(ended)
	if err := <-watch; err != nil {
		return nil, err
	}
	f.ResidentRatio = measure.Round(f.Resident.RSS / (f.WeightMiB + f.KVMiB))
	if err := f.sum(chats); err != nil {
		return nil, err
	}
	preempted, err := e.metric("vllm:num_preemptions_total")
	if err != nil {
		return nil, err
	}
	f.Preemptions = int(preempted)
	return f, e.stop()
}

// sum takes in what the clients saw.
func (f *full) sum(chats []*stream) error {
	var took, first, silence []float64
	tokens := 0
	for _, c := range chats {
		if c.err != nil || len(c.events) == 0 {
			return fmt.Errorf("a chat ended so: %q, %w", c.finish, c.err)
		}
		if c.finish == "length" && c.completion == fullTokens {
			f.Served++
		}
		tokens += c.completion
		took = append(took, c.events[len(c.events)-1].Sub(c.sent).Seconds())
		first = append(first, c.firstSeconds())
		longest := time.Duration(0)
		for i := 1; i < len(c.events); i++ {
			longest = max(longest, c.events[i].Sub(c.events[i-1]))
		}
		silence = append(silence, longest.Seconds())
	}
	f.TokensPerSecond = measure.Round(float64(tokens) / f.Seconds)
	f.ChatS, f.FirstTokenS, f.LongestSilenceS = measure.SpreadOf(took), measure.SpreadOf(first), measure.SpreadOf(silence)
	return nil
}

// watch notes the most memory that the engine has until it is told to end.
func (f *full) watch(pid int, ended <-chan struct{}) error {
	for {
		m, err := measure.MemoryOf(pid)
		if err != nil {
			return err
		}
		if m.RSS > f.Resident.RSS {
			f.Resident = m
		}
		select {
		case <-ended:
			return nil
		case <-time.After(time.Second):
		}
	}
}

// limitOf reads the limit of a control group, of either version.
func limitOf(cgroup string) (string, error) {
	if cgroup == "" {
		return "", nil
	}
	for _, name := range []string{"memory.max", "memory.limit_in_bytes"} {
		if b, err := os.ReadFile(filepath.Join(cgroup, name)); err == nil {
			return strings.TrimSpace(string(b)), nil
		}
	}
	return "", fmt.Errorf("-cgroup=%s is no control group of memory", cgroup)
}
