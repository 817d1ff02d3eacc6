package e2e

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// report is what a script does with the vendor's SDK, unmodified, and tells.
type report struct {
	SDK     string
	Models  []string
	Version string

	Chat, ChatStream             sdkAnswer
	Completion, CompletionStream sdkAnswer
	System, Turns                sdkAnswer
	Length, NewLength, Stop      sdkAnswer
	Seeds                        []string // of the seeds 7, 7 and 8
	WithoutUsage                 sdkAnswer
	Abandoned                    int // chunks until the stream was left
	Errors                       map[string]sdkError
}

type sdkAnswer struct {
	Text, Finish, Role, Object, Model, RequestID string
	Chunks                                       int
	Usage                                        *usage
}

type sdkError struct {
	Class, Code, Param, Message string
	Status                      int
	RequestID                   string
}

// TestOpenAISDKs holds chats with the pod through both of OpenAI's SDKs.
func TestOpenAISDKs(t *testing.T) {
	t.Parallel()
	p := sharedPod(t)
	raw := map[string]generation{
		"chat":       p.mustGenerate(t, chat(italy, 60)),
		"completion": p.mustGenerate(t, counting(16)),
	}
	for name, command := range map[string][]string{
		"Python": {python, filepath.Join("python", "openai_sdk.py")},
		"Node":   {"node", filepath.Join("node", "openai_sdk.mjs")},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := runSDK(t, p.url, command)
			t.Logf("openai %s for %s", r.Version, name)
			checkSDKAnswers(t, r, raw)
			checkSDKErrors(t, r)
		})
	}
}

func runSDK(t *testing.T, url string, command []string) (r report) {
	t.Helper()
	runScript(t, append(command, url+"/v1"), &r)
	return r
}

// runScript reads what a script prints into report.
func runScript(t *testing.T, command []string, report any) {
	t.Helper()
	cmd := exec.Command(command[0], command[1:]...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	cmd.Env = append(os.Environ(), "OPENAI_API_KEY=unused")
	cmd.WaitDelay = time.Second
	timer := time.AfterFunc(3*patience, func() { _ = cmd.Process.Kill() })
	defer timer.Stop()
	out, err := cmd.Output()
	if err != nil || json.Unmarshal(out, report) != nil {
		t.Fatalf("%s: %v\n%s%s", strings.Join(command, " "), err, out, stderr.String())
	}
}

func checkSDKAnswers(t *testing.T, r report, raw map[string]generation) {
	t.Helper()
	if !slices.Equal(r.Models, []string{modelName}) {
		t.Errorf("models: %v", r.Models)
	}
	for _, c := range []struct {
		name          string
		whole, stream sdkAnswer
		object        string
	}{
		{"chat", r.Chat, r.ChatStream, "chat.completion"},
		{"completion", r.Completion, r.CompletionStream, "text_completion"},
	} {
		want := raw[c.name]
		for kind, got := range map[string]sdkAnswer{"whole": c.whole, "streamed": c.stream} {
			if got.Text != want.text || got.Finish != want.finish || got.Usage == nil || *got.Usage != want.usage || got.Model != modelName {
				t.Errorf("%s %s: got %+v %+v, want %+v", kind, c.name, got, got.Usage, want)
			}
		}
		if c.whole.Object != c.object || c.stream.Chunks < 3 {
			t.Errorf("%s: %+v, %+v", c.name, c.whole, c.stream)
		}
	}
	if !strings.Contains(r.Chat.Text, "Rome") || r.Chat.Role != "assistant" || r.ChatStream.Role != "assistant" || r.Chat.RequestID == "" {
		t.Errorf("chat: %+v, %+v", r.Chat, r.ChatStream)
	}
	if r.System.Text == "" || !strings.Contains(r.Turns.Text, "Rome") {
		t.Errorf("system prompt: %+v; turns: %+v", r.System, r.Turns)
	}
	for name, got := range map[string]sdkAnswer{"max_tokens": r.Length, "max_completion_tokens": r.NewLength} {
		if got.Finish != "length" || got.Usage.Completion != 5 {
			t.Errorf("%s: %+v %+v", name, got, got.Usage)
		}
	}
	if want, _, _ := strings.Cut(raw["completion"].text, "12"); r.Stop.Finish != "stop" || r.Stop.Text != want {
		t.Errorf("stop: %+v, want %q", r.Stop, want)
	}
	if len(r.Seeds) != 3 || r.Seeds[0] != r.Seeds[1] || r.Seeds[0] == r.Seeds[2] {
		t.Errorf("seeds 7, 7 and 8: %q", r.Seeds)
	}
	if r.WithoutUsage.Usage != nil || r.WithoutUsage.Text == "" {
		t.Errorf("a stream that did not ask for usage: %+v", r.WithoutUsage)
	}
	if r.Abandoned != 3 {
		t.Errorf("the stream that was left gave %d chunks", r.Abandoned)
	}
}

func checkSDKErrors(t *testing.T, r report) {
	t.Helper()
	for name, want := range map[string]sdkError{
		"model":       {Class: "NotFoundError", Status: 404, Code: "model_not_found", Param: "model"},
		"temperature": {Class: "BadRequestError", Status: 400, Code: "invalid_value", Param: "temperature"},
		"max_tokens":  {Class: "BadRequestError", Status: 400, Code: "invalid_value", Param: "max_tokens"},
		"messages":    {Class: "BadRequestError", Status: 400, Code: "invalid_value", Param: "messages"},
		"unsupported": {Class: "BadRequestError", Status: 400, Code: "unsupported_parameter", Param: "store"},
		"streamed":    {Class: "NotFoundError", Status: 404, Code: "model_not_found", Param: "model"},
	} {
		got, ok := r.Errors[name]
		if !ok || got.Message == "" || got.RequestID == "" {
			t.Errorf("%s: %+v", name, got)
		}
		got.Message, got.RequestID = "", ""
		if got != want {
			t.Errorf("%s: got %+v, want %+v", name, got, want)
		}
	}
}
