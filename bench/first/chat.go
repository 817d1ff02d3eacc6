package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/semantic-pod/semantic/bench/measure"
)

// chat is one client's stream with nobody beside it, seen from the client.
type chat struct {
	Question        string         `json:"question"`
	PromptTokens    int            `json:"prompt_tokens"`
	AnswerTokens    int            `json:"answer_tokens"`
	Runs            int            `json:"runs"`
	FirstTokenMS    measure.Spread `json:"first_token_ms"`    // sending the request to the first text
	TokensPerSecond measure.Spread `json:"tokens_per_second"` // after the first token
}

const (
	question     = "List three advantages of riding a bicycle to work."
	answerTokens = 128
)

// chatBody numbers each chat from its first words on, so that none finds its prompt
// computed by another before.
func chatBody(number int, text string, tokens int, stream bool) string {
	body := map[string]any{
		"model": "default", "temperature": 0, "max_tokens": tokens, "stream": stream,
		"messages": []map[string]string{
			{"role": "system", "content": fmt.Sprintf("Chat %d: you are a helpful assistant.", number)},
			{"role": "user", "content": text},
		},
	}
	if stream {
		body["stream_options"] = map[string]bool{"include_usage": true}
	}
	b, err := json.Marshal(body)
	if err != nil {
		panic(err) // literals
	}
	return string(b)
}

func measureChat(p plan, q *pod) (chat, error) {
	c := chat{Question: question, Runs: p.chats}
	var first, speed []float64
	for i := range p.chats + 1 {
		s, err := oneChat(q, i)
		if err != nil {
			return c, err
		}
		if i == 0 {
			continue // the first warms up
		}
		c.PromptTokens, c.AnswerTokens = s.prompt, s.answer
		first = append(first, float64(s.first)/float64(time.Millisecond))
		speed = append(speed, float64(s.answer-1)/(s.last-s.first).Seconds())
	}
	c.FirstTokenMS, c.TokensPerSecond = measure.SpreadOf(first), measure.SpreadOf(speed)
	return c, nil
}

// sample is what a client saw of one stream.
type sample struct {
	prompt, answer int
	first, last    time.Duration // until the first and the last text
}

func oneChat(q *pod, number int) (s sample, err error) {
	req, err := http.NewRequest(http.MethodPost, q.url+"/v1/chat/completions", strings.NewReader(chatBody(number, question, answerTokens, true)))
	if err != nil {
		return s, err
	}
	req.Header.Set("Content-Type", "application/json")
	began := time.Now()
	resp, err := q.proxy.Do(req)
	if err != nil {
		return s, err
	}
	defer resp.Body.Close()
	done := false
	for scan := bufio.NewScanner(resp.Body); scan.Scan(); {
		data, ok := strings.CutPrefix(scan.Text(), "data: ")
		if done = done || data == "[DONE]"; !ok || done {
			continue
		}
		if err := s.take(data, time.Since(began)); err != nil {
			return s, err
		}
	}
	if !done || s.answer < 2 {
		return s, errors.New("the stream did not end well")
	}
	return s, nil
}

func (s *sample) take(data string, at time.Duration) error {
	var chunk struct {
		Choices []struct{ Delta struct{ Content string } }
		Usage   *struct {
			Prompt int `json:"prompt_tokens"`
			Answer int `json:"completion_tokens"`
		}
	}
	if err := json.Unmarshal([]byte(data), &chunk); err != nil {
		return fmt.Errorf("%q: %w", data, err)
	}
	if chunk.Usage != nil {
		s.prompt, s.answer = chunk.Usage.Prompt, chunk.Usage.Answer
	}
	if len(chunk.Choices) > 0 && chunk.Choices[0].Delta.Content != "" {
		if s.last = at; s.first == 0 {
			s.first = at
		}
	}
	return nil
}

// load keeps the batch busy, so that memory can be seen after it.
func load(p plan, q *pod) error {
	errs := make([]error, p.loadClients)
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() {
			for n := range p.loadAnswers {
				body := chatBody(1000+i*p.loadAnswers+n, "Tell me a story.", 64, i%2 == 0)
				errs[i] = errors.Join(errs[i], ask(q.proxy, http.MethodPost, q.url+"/v1/chat/completions", body))
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}
