package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// answer is what a client saw of one stream.
type answer struct {
	times          []time.Duration // since the request was sent, of each piece of text
	took           time.Duration
	prompt, cached int // tokens
}

// ask has a pod answer a prompt with exactly so many tokens, all of them the same word:
// so the next prompt is known, and the answer's length.
func (q *pod) ask(agent string, prompt []int32, most int) (a answer, err error) {
	body, err := json.Marshal(map[string]any{
		"model": "default", "prompt": prompt, "max_tokens": most, "temperature": 0, "stream": true,
		"stream_options": map[string]bool{"include_usage": true}, "logit_bias": map[string]int{strconv.Itoa(said): 100},
	})
	if err != nil {
		return a, err
	}
	req, err := http.NewRequest(http.MethodPost, q.url+"/v1/completions", strings.NewReader(string(body)))
	if err != nil {
		return a, err
	}
	req.Header.Set("Content-Type", "application/json")
	if agent != "" {
		req.Header.Set("X-Agent-ID", agent)
	}
	began := time.Now()
	resp, err := q.client.Do(req)
	if err != nil {
		return a, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(resp.Body)
		return a, fmt.Errorf("%s %s", resp.Status, text)
	}
	done, completion := false, 0
	for scan := bufio.NewScanner(resp.Body); scan.Scan() && !done; {
		data, ok := strings.CutPrefix(scan.Text(), "data: ")
		if done = data == "[DONE]"; !ok || done {
			continue
		}
		n, err := a.take(data, time.Since(began))
		if err != nil {
			return a, err
		}
		completion += n
	}
	a.took = time.Since(began)
	if !done || completion != most || len(a.times) == 0 || a.prompt != len(prompt) {
		return a, fmt.Errorf("an answer of %d tokens to %d of %d ended in %d pieces, whole: %t", completion, a.prompt, len(prompt), len(a.times), done)
	}
	return a, nil
}

// take reads an event. It returns how many tokens the answer has, if it says so.
func (a *answer) take(data string, at time.Duration) (int, error) {
	var chunk struct {
		Choices []struct{ Text string }
		Usage   *struct {
			Prompt     int `json:"prompt_tokens"`
			Completion int `json:"completion_tokens"`
			Details    struct {
				Cached int `json:"cached_tokens"`
			} `json:"prompt_tokens_details"`
		}
	}
	if err := json.Unmarshal([]byte(data), &chunk); err != nil {
		return 0, fmt.Errorf("%q: %w", data, err)
	}
	if len(chunk.Choices) > 0 && chunk.Choices[0].Text != "" {
		a.times = append(a.times, at)
	}
	if chunk.Usage == nil {
		return 0, nil
	}
	a.prompt, a.cached = chunk.Usage.Prompt, chunk.Usage.Details.Cached
	return chunk.Usage.Completion, nil
}
