package e2e

import (
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// toolReport is what a script does with a vendor's SDK, unmodified, and tells.
type toolReport struct {
	Version                               string
	Named, Streamed, Required, Auto, Turn toolAnswer
	Error                                 sdkError
	Text, TextStreamed, Stopped           toolAnswer // of Anthropic's alone
	Tokens, TokensWithout                 int
}

type toolAnswer struct {
	Text, Finish string
	Calls        []toolCall
	Fragments    int
}

type toolCall struct {
	ID, Name  string
	Arguments map[string]any
}

// TestToolsThroughBothVendorsSDKs lets the default model call tools through the SDKs of
// OpenAI and Anthropic, whole and streamed, and gives it their results.
func TestToolsThroughBothVendorsSDKs(t *testing.T) {
	t.Parallel()
	p := sharedPod(t)
	for name, command := range map[string][]string{
		"Python": {python, filepath.Join("python", "tools.py")},
		"Node":   {"node", filepath.Join("node", "tools.mjs")},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var r struct{ OpenAI, Anthropic toolReport }
			runScript(t, append(command, p.url), &r)
			t.Logf("openai %s, anthropic %s for %s", r.OpenAI.Version, r.Anthropic.Version, name)
			checkTools(t, "openai", r.OpenAI, "tool_calls")
			checkTools(t, "anthropic", r.Anthropic, "tool_use")
			checkMessages(t, r.Anthropic)
		})
	}
}

func checkTools(t *testing.T, vendor string, r toolReport, finish string) {
	t.Helper()
	for kind, a := range map[string]toolAnswer{"named": r.Named, "streamed": r.Streamed, "required": r.Required} {
		if a.Finish != finish || a.Text != "" || len(a.Calls) != 1 || a.Calls[0].ID == "" {
			t.Errorf("%s, %s: %+v", vendor, kind, a)
			continue
		}
		c := a.Calls[0]
		town, isText := c.Arguments["town"].(string)
		unit, _ := c.Arguments["unit"].(string)
		weather := c.Name == "weather" && isText && len([]rune(town)) <= 30 && slices.Contains([]string{"celsius", "kelvin"}, unit) && len(c.Arguments) == 2
		if !weather && (kind != "required" || c.Name != "now" || len(c.Arguments) != 0) {
			t.Errorf("%s, %s: called %+v", vendor, kind, c)
		}
	}
	if len(r.Named.Calls) == 1 && len(r.Streamed.Calls) == 1 && !reflect.DeepEqual(r.Named.Calls[0].Arguments, r.Streamed.Calls[0].Arguments) || r.Streamed.Fragments < 3 {
		t.Errorf("%s: whole %+v, streamed in %d pieces %+v", vendor, r.Named, r.Streamed.Fragments, r.Streamed)
	}
	if r.Auto.Finish == "" || r.Auto.Text == "" && len(r.Auto.Calls) == 0 {
		t.Errorf("%s, auto: %+v", vendor, r.Auto)
	}
	if !strings.Contains(r.Turn.Text, "25") && !strings.Contains(strings.ToLower(r.Turn.Text), "sunny") || len(r.Turn.Calls) != 0 {
		t.Errorf("%s: the answer does not know the tool's result: %+v", vendor, r.Turn)
	}
	if e := r.Error; e.Class != "BadRequestError" || e.Status != 400 || !strings.Contains(e.Message, "pattern is not supported") || e.RequestID == "" {
		t.Errorf("%s, error: %+v", vendor, e)
	}
}

func checkMessages(t *testing.T, r toolReport) {
	t.Helper()
	if r.Text.Text == "" || r.Text.Text != r.TextStreamed.Text || r.Text.Finish != r.TextStreamed.Finish || r.TextStreamed.Fragments < 3 {
		t.Errorf("text: %+v, streamed %+v", r.Text, r.TextStreamed)
	}
	if r.Stopped.Finish != "stop_sequence" || strings.Contains(r.Stopped.Text, "5") || !strings.Contains(r.Stopped.Text, "4") {
		t.Errorf("stopped: %+v", r.Stopped)
	}
	if r.TokensWithout < 10 || r.Tokens < r.TokensWithout+50 {
		t.Errorf("%d tokens, and %d with tools", r.TokensWithout, r.Tokens)
	}
}
