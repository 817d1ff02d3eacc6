package e2e

import (
	"maps"
	"path/filepath"
	"testing"
)

// upstreamCall is what came of a chat in which the model of an upstream is to call a tool.
type upstreamCall struct {
	toolAnswer
	Prompt, Completion int // tokens
}

type upstreamCalls struct {
	Named, NamedStreamed, Required, RequiredStreamed upstreamCall
	Unheeded                                         upstreamCall // too short for a call
}

// TestToolsThroughAnUpstream lets a model call a tool that llama.cpp's server runs, through
// the SDKs of OpenAI and Anthropic and a pod, and holds calls and counts against what the
// server says itself.
func TestToolsThroughAnUpstream(t *testing.T) {
	t.Parallel()
	l := newLlama(t, filepath.Join(root, "e2e", "python", "tools.jinja"))
	p := newDoomedPod(t, settings{upstreams: []string{l.url}})
	t.Cleanup(func() { p.mustStop(t) })
	await(t, "the upstream", func() bool { return p.upstreamsUp(t) == 1 })
	before := p.scrape(t)

	var r struct{ Direct, OpenAI, Anthropic upstreamCalls }
	runScript(t, []string{python, filepath.Join("python", "tools_upstream.py"), p.url, l.url}, &r)
	isCallOf(t, "the server itself, named", r.Direct.Named, r.Direct.Named, "tool_calls")
	isCallOf(t, "the server itself, required", r.Direct.Required, r.Direct.Required, "tool_calls")
	spent := 0
	for vendor, got := range map[string]upstreamCalls{"tool_calls": r.OpenAI, "tool_use": r.Anthropic} {
		isCallOf(t, vendor+", named", got.Named, r.Direct.Named, vendor)
		isCallOf(t, vendor+", named, streamed", got.NamedStreamed, r.Direct.Named, vendor)
		isCallOf(t, vendor+", required", got.Required, r.Direct.Required, vendor)
		isCallOf(t, vendor+", required, streamed", got.RequiredStreamed, r.Direct.Required, vendor)
		for _, streamed := range []upstreamCall{got.NamedStreamed, got.RequiredStreamed} {
			if streamed.Fragments < 3 {
				t.Errorf("%s: the arguments came in %d pieces", vendor, streamed.Fragments)
			}
		}
		for _, c := range []upstreamCall{got.Named, got.NamedStreamed, got.Required, got.RequiredStreamed, got.Unheeded} {
			spent += c.Completion
		}
	}
	for finish, u := range map[string]upstreamCall{"length": r.OpenAI.Unheeded, "max_tokens": r.Anthropic.Unheeded} {
		if u.Finish != finish || len(u.Calls) != 0 || u.Text == "" || u.Completion != 8 {
			t.Errorf("an answer that was over before the call that it had to have: %+v", u)
		}
	}

	after := p.scrape(t)
	if n := after.of(t, "semantic_tokens_generated_total") - before.of(t, "semantic_tokens_generated_total"); int(n) != spent {
		t.Errorf("the answers have %d tokens, and semantic_tokens_generated_total grew by %g", spent, n)
	}
	const called = `semantic_finish_total{class="tool_calls"}`
	if n := after.of(t, called) - before.of(t, called); n != 8 {
		t.Errorf("%s grew by %g, want 8", called, n)
	}
}

// isCallOf holds an answer to be the one call that was asked for, with the server's own
// arguments and counts.
func isCallOf(t *testing.T, name string, got, direct upstreamCall, finish string) {
	t.Helper()
	if got.Finish != finish || got.Text != "" || len(got.Calls) != 1 || got.Calls[0].ID == "" || got.Calls[0].Name != "weather" {
		t.Errorf("%s: %+v", name, got)
		return
	}
	want := map[string]any{"town": "Rome", "unit": "celsius"}
	if !maps.Equal(got.Calls[0].Arguments, want) {
		t.Errorf("%s: called with %v, want %v", name, got.Calls[0].Arguments, want)
	}
	if got.Prompt != direct.Prompt || got.Completion != direct.Completion || got.Prompt < 100 || got.Completion < 10 {
		t.Errorf("%s: %d and %d tokens, the server itself says %d and %d", name, got.Prompt, got.Completion, direct.Prompt, direct.Completion)
	}
}
