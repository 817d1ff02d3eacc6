package upstream

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"

	"github.com/semantic-pod/semantic/api"
	"github.com/semantic-pod/semantic/engine/dialect"
)

// Count asks an upstream how many tokens a chat's prompt has.
func (f *Fleet) Count(ctx context.Context, r *dialect.Request) (int, *api.Error) {
	tried := map[*server]bool{}
	err := f.unreachable()
	for {
		s := f.acquire("", tried)
		if s == nil {
			return 0, err
		}
		tried[s] = true
		n, o := f.countAt(ctx, s, r)
		f.release(s, o.verdict, o.wait)
		if o.verdict == served {
			return n, nil
		}
		if err = o.err; o.verdict == neutral || ctx.Err() != nil {
			return 0, err
		}
	}
}

func (f *Fleet) countAt(ctx context.Context, s *server, r *dialect.Request) (int, outcome) {
	f.mu.Lock()
	t := target{kind: s.kind, model: s.model}
	f.mu.Unlock()
	path, b := "/v1/messages/count_tokens", fields{"model": t.model}
	switch t.kind {
	case LlamaCPP, Semantic:
		putTurns(b, r.Messages)
	case VLLM:
		path = "/tokenize"
		b["messages"], b["add_generation_prompt"] = turns(r.Messages), true
	case Other:
		return 0, outcome{verdict: neutral, err: &api.Error{
			Status: http.StatusNotImplemented, Code: "unsupported", Message: "the server that computes the answers does not count tokens",
		}}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.base+path, bytes.NewReader(encode(b)))
	if err != nil {
		return 0, outcome{verdict: neutral, err: died(err.Error())}
	}
	req.Header.Set("Content-Type", "application/json")
	f.authorize(req)
	resp, err := s.client.Do(req)
	if err != nil {
		return 0, f.broken(ctx, &answer{}, err).orElse(died("did not count in time"))
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return 0, refused(resp, r)
	}
	var counted struct {
		Input *int `json:"input_tokens"` // Anthropic's name
		Count *int `json:"count"`        // vLLM's
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxLookBytes))
	if err == nil {
		err = json.Unmarshal(body, &counted)
	}
	switch {
	case err == nil && counted.Input != nil:
		return *counted.Input, outcome{verdict: served}
	case err == nil && counted.Count != nil:
		return *counted.Count, outcome{verdict: served}
	}
	return 0, outcome{verdict: failed, err: died("counts tokens in a way that makes no sense"), why: err}
}

// orElse gives an outcome an error to tell if it has none.
func (o outcome) orElse(e *api.Error) outcome {
	if o.err == nil {
		o.err = e
	}
	return o
}
