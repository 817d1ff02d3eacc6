package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/semantic-pod/semantic/api"
)

// stream is a chat as its client sees it.
type stream struct {
	mu     sync.Mutex
	sent   time.Time
	events []time.Time // at which text came

	finish             string // of the engine's trailers
	prompt, completion int
	err                error
}

// chat sends one message and reads the answer to its end, or until ctx is over.
func (e *engine) chat(ctx context.Context, message string, tokens int) *stream {
	s := &stream{sent: time.Now()}
	s.err = e.read(ctx, s, message, tokens)
	return s
}

func (e *engine) read(ctx context.Context, s *stream, message string, tokens int) error {
	body, err := json.Marshal(map[string]any{
		"model": "default", "stream": true, "max_tokens": tokens, "logit_bias": endless,
		"messages": []map[string]string{{"role": "user", "content": message}},
	})
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://engine/v1/chat/completions", bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := e.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(resp.Body)
		return fmt.Errorf("%s %s", resp.Status, text)
	}
	for lines := bufio.NewReader(resp.Body); ; {
		line, err := lines.ReadBytes('\n')
		if bytes.HasPrefix(line, []byte("data: {")) && bytes.Contains(line, []byte(`"content":"`)) && !bytes.Contains(line, []byte(`"content":""`)) {
			s.mu.Lock()
			s.events = append(s.events, time.Now())
			s.mu.Unlock()
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
	}
	s.finish = resp.Trailer.Get(api.HeaderFinish)
	s.prompt, _ = strconv.Atoi(resp.Trailer.Get(api.HeaderPromptTokens))
	s.completion, _ = strconv.Atoi(resp.Trailer.Get(api.HeaderCompletionTokens))
	return nil
}

// begun says whether text has come.
func (s *stream) begun() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.events) > 0
}

// gaps returns the milliseconds between two events that came within a span of time.
func (s *stream) gaps(from, to time.Time) (ms []float64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := 1; i < len(s.events); i++ {
		if s.events[i-1].After(from) && s.events[i].Before(to) {
			ms = append(ms, float64(s.events[i].Sub(s.events[i-1]))/float64(time.Millisecond))
		}
	}
	return ms
}

// endless forbids the model's control tokens, so that an answer ends by its length alone.
var endless = func() map[string]int {
	bias := map[string]int{}
	for token := range 17 {
		bias[strconv.Itoa(token)] = -100
	}
	return bias
}()

// words returns a text of so many words that no text before it begins like.
func words(n int) string {
	list := strings.Fields("river stone garden window letter market winter music bridge paper lamp forest engine copper valley sugar thunder ladder island needle")
	text := make([]string, n)
	for i := range text {
		text[i] = list[rand.IntN(len(list))]
	}
	return strings.Join(text, " ")
}
