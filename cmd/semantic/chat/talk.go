// Package chat is a conversation with a pod on the terminal.
//
// Read: talk (what is said, and what the pod answers), screen (on a terminal), pipe (without one).
package chat

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode"
)

// Config says whom to talk to.
type Config struct {
	URL       string // of the proxy
	Key       string // API key; "" sends none
	Agent     string // X-Agent-ID; "" sends none
	Model     string // "default" is the served one
	MaxTokens int
	Timeout   time.Duration // of one answer
}

// Validate says which setting is wrong.
func (c *Config) Validate() error {
	u, err := url.Parse(c.URL)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return fmt.Errorf("--url=%s is no address such as http://127.0.0.1:8000", c.URL)
	}
	if c.MaxTokens < 1 {
		return fmt.Errorf("--max-tokens=%d must be at least 1", c.MaxTokens)
	}
	return nil
}

const maxEvent = 1 << 20 // bytes of one event of a stream

type message struct {
	Role    string `json:"role"`
	Content string `json:"content"`
}

// figures are what /stats shows.
type figures struct {
	requestID          string
	first, whole       time.Duration
	prompt, cached, n  int
	finish             string
	turns, totalTokens int
}

func (f figures) String() string {
	if f.turns == 0 {
		return "nothing was answered yet"
	}
	speed := "–"
	if decode := (f.whole - f.first).Seconds(); f.n > 1 && decode > 0 {
		speed = fmt.Sprintf("%.0f", float64(f.n-1)/decode)
	}
	return fmt.Sprintf("last answer: first token after %s, %s tokens/s, %d tokens (%s), %d of %d prompt tokens cached, request %s; in all %d answers of %d tokens",
		f.first.Round(time.Millisecond/10), speed, f.n, f.finish, f.cached, f.prompt, f.requestID, f.turns, f.totalTokens)
}

// talk is a conversation.
type talk struct {
	cfg     Config
	history []message
	last    figures
}

// errCut says that a stream has no end.
var errCut = errors.New("the answer was cut off")

// say sends what a person wrote, gives each piece of the answer as it comes, and keeps both turns
// if the answer is whole.
func (t *talk) say(ctx context.Context, text string, give func(string)) error {
	ctx, cancel := context.WithTimeout(ctx, t.cfg.Timeout)
	defer cancel()
	asked := append(t.history[:len(t.history):len(t.history)], message{"user", text})
	body, err := json.Marshal(map[string]any{
		"model": t.cfg.Model, "messages": asked, "stream": true, "max_tokens": t.cfg.MaxTokens, "temperature": 0,
		"stream_options": map[string]bool{"include_usage": true},
	})
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimRight(t.cfg.URL, "/")+"/v1/chat/completions", bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	if t.cfg.Key != "" {
		req.Header.Set("Authorization", "Bearer "+t.cfg.Key)
	}
	if t.cfg.Agent != "" {
		req.Header.Set("X-Agent-ID", t.cfg.Agent)
	}
	began := time.Now()
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("the pod does not answer (--url): %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return refused(resp)
	}
	f := figures{requestID: resp.Header.Get("X-Request-ID"), turns: t.last.turns + 1}
	answer, err := f.read(resp.Body, began, give)
	if err != nil {
		return err
	}
	f.totalTokens = t.last.totalTokens + f.n
	t.history, t.last = append(asked, message{"assistant", answer}), f
	return nil
}

// refused makes an error of an answer that is no stream.
func refused(resp *http.Response) error {
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxEvent))
	var said struct{ Error struct{ Message string } }
	if err == nil && json.Unmarshal(text, &said) == nil && said.Error.Message != "" {
		return fmt.Errorf("%s (status %d)", plain(said.Error.Message), resp.StatusCode)
	}
	return fmt.Errorf("the pod answered %s", resp.Status)
}

// read reads a stream to its end.
func (f *figures) read(body io.Reader, began time.Time, give func(string)) (string, error) {
	var answer strings.Builder
	scan := bufio.NewScanner(body)
	scan.Buffer(nil, maxEvent)
	for scan.Scan() {
		data, ok := bytes.CutPrefix(scan.Bytes(), []byte("data: "))
		if !ok {
			continue
		}
		if string(data) == "[DONE]" {
			f.whole = time.Since(began)
			return answer.String(), nil
		}
		var e struct {
			Error   *struct{ Message string }
			Choices []struct {
				Delta        struct{ Content string }
				FinishReason string `json:"finish_reason"`
			}
			Usage *struct {
				Prompt     int `json:"prompt_tokens"`
				Completion int `json:"completion_tokens"`
				Details    struct {
					Cached int `json:"cached_tokens"`
				} `json:"prompt_tokens_details"`
			}
		}
		if err := json.Unmarshal(data, &e); err != nil {
			return "", fmt.Errorf("the pod sent an event that cannot be read: %w", err)
		}
		if e.Error != nil {
			return "", errors.New(plain(e.Error.Message))
		}
		if e.Usage != nil {
			f.prompt, f.n, f.cached = e.Usage.Prompt, e.Usage.Completion, e.Usage.Details.Cached
		}
		for _, c := range e.Choices {
			if c.FinishReason != "" {
				f.finish = c.FinishReason
			}
			if c.Delta.Content == "" {
				continue
			}
			if f.first == 0 {
				f.first = time.Since(began)
			}
			answer.WriteString(c.Delta.Content)
			give(plain(c.Delta.Content))
		}
	}
	if err := scan.Err(); err != nil {
		return "", fmt.Errorf("%w: %w", errCut, err)
	}
	return "", errCut
}

// plain takes out what a terminal would obey instead of show.
func plain(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) && r != '\n' && r != '\t' {
			return -1
		}
		return r
	}, text)
}

const help = "/agent NAME keeps a memory under that name (/agent - keeps none), /stats shows times and tokens, /new begins anew, /quit ends"

// order carries out a line that begins with a slash.
func (t *talk) order(line string) (said string, quit bool) {
	word, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
	rest = strings.TrimSpace(rest)
	switch word {
	case "/quit", "/exit":
		return "", true
	case "/stats":
		return t.last.String(), false
	case "/new":
		t.history = nil
		return "a new conversation", false
	case "/agent":
		switch rest {
		case "":
			if t.cfg.Agent == "" {
				return "no agent; " + help, false
			}
			return "the agent is " + t.cfg.Agent, false
		case "-":
			t.cfg.Agent, t.history = "", nil
			return "no agent; a new conversation", false
		}
		t.cfg.Agent, t.history = rest, nil
		return "the agent is " + plain(rest) + "; a new conversation", false
	case "/help":
		return help, false
	}
	return "there is no " + plain(word) + "; " + help, false
}
