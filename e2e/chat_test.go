package e2e

import (
	"encoding/json"
	"net/http"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/semantic-pod/semantic/api"
)

const italy = "Name the capital of Italy."

func TestChatKnowsTheCapitalOfItaly(t *testing.T) {
	t.Parallel()
	p := sharedPod(t)
	whole := p.mustGenerate(t, chat(italy, 60))
	if !strings.Contains(whole.text, "Rome") || whole.finish != "stop" {
		t.Errorf("got %+v", whole)
	}
	stream := p.mustGenerate(t, chat(italy, 60).with(body{"stream": true}))
	if stream.text != whole.text || stream.finish != whole.finish || stream.usage != whole.usage || !stream.done {
		t.Errorf("the stream\n%+v\nand the whole\n%+v\ndiffer", stream, whole)
	}
	if stream.pieces < 3 {
		t.Errorf("the stream came in %d pieces", stream.pieces)
	}
}

// TestCurlLineThatServePrintsWorks pastes what serve prints into a shell.
func TestCurlLineThatServePrintsWorks(t *testing.T) {
	t.Parallel()
	p := sharedPod(t)
	await(t, "the greeting", func() bool { return strings.Contains(p.stdout.String(), "Ctrl-C") })
	command := regexp.MustCompile(`(?m)^ +curl .*\\\n.*$`).FindString(p.stdout.String())
	if !strings.Contains(command, p.url) {
		t.Fatalf("serve printed no curl line for %s:\n%s", p.url, p.stdout)
	}
	out, err := exec.Command("bash", "-c", command).Output()
	var a answer
	if err != nil || json.Unmarshal(out, &a) != nil || len(a.Choices) != 1 {
		t.Fatalf("%s\ngave %v: %s", command, err, out)
	}
	if text := a.Choices[0].Message.Content; !strings.Contains(text, "Rome") || a.Model != modelName {
		t.Errorf("got %+v", a)
	}
}

// TestStreamComesAsItIsMade runs by itself: tokens that wait for a processor go out
// together.
func TestStreamComesAsItIsMade(t *testing.T) {
	p := sharedPod(t)
	g := p.mustGenerate(t, counting(80).with(body{"stream": true}))
	if g.pieces < 40 {
		t.Errorf("80 tokens came in %d pieces", g.pieces)
	}
	if g.first > g.whole/2 {
		t.Errorf("the first text came after %s of %s", g.first, g.whole)
	}
}

func TestStreamAndWholeAnswerSayTheSame(t *testing.T) {
	t.Parallel()
	p := sharedPod(t)
	for name, b := range map[string]body{
		"completion":  counting(24),
		"stop string": counting(64).with(body{"stop": []string{"15", "never"}}),
		"seed":        chat("Tell me a story about a fox.", 40).with(body{"temperature": 0.9, "top_p": 0.95, "seed": 11}),
		"emoji":       chat("Reply with these and nothing else: 🙂🦊漢字éü", 40),
		"system": chat("", 40).with(body{"messages": []message{
			{"system", "You are a pirate. You always talk like one."}, {"user", "Who are you?"}}}),
		"turns": chat("", 40).with(body{"messages": []message{
			{"user", "My name is Ada."}, {"assistant", "Hello Ada!"}, {"user", "What is my name?"}}}),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			whole := p.mustGenerate(t, b)
			stream := p.mustGenerate(t, b.with(body{"stream": true}))
			if whole.text == "" || stream.text != whole.text || stream.finish != whole.finish || stream.usage != whole.usage {
				t.Errorf("the stream\n%+v\nand the whole\n%+v\ndiffer", stream, whole)
			}
			if !utf8.ValidString(stream.text) || strings.ContainsRune(withoutCutEnd(stream), utf8.RuneError) {
				t.Errorf("a character was cut: %q", stream.text)
			}
		})
	}
}

// withoutCutEnd is the text without the character that max_tokens left unfinished,
// which shows as U+FFFD.
func withoutCutEnd(g generation) string {
	if g.finish == "length" {
		return strings.TrimRight(g.text, string(utf8.RuneError))
	}
	return g.text
}

func TestStopStringEndsTheAnswerAndNeverShows(t *testing.T) {
	t.Parallel()
	p := sharedPod(t)
	full := p.mustGenerate(t, counting(40)).text
	for _, stop := range []string{"13", ", 13,", "1, 12", " 11"} {
		want, _, found := strings.Cut(full, stop)
		if !found {
			t.Fatalf("%q is not in %q", stop, full)
		}
		for _, streamed := range []bool{false, true} {
			g := p.mustGenerate(t, counting(40).with(body{"stop": stop, "stream": streamed}))
			if g.text != want || g.finish != "stop" {
				t.Errorf("stop %q, stream %v: got %q (%s), want %q", stop, streamed, g.text, g.finish, want)
			}
		}
	}
}

func TestMaxTokensEndsTheAnswerWithLength(t *testing.T) {
	t.Parallel()
	p := sharedPod(t)
	for _, b := range []body{
		chat("Tell me a long story.", 7), counting(7), counting(7).with(body{"stream": true}),
		{"model": "default", "max_completion_tokens": 7, "temperature": 0, "messages": []message{{"user", "Tell me a long story."}}},
	} {
		g := p.mustGenerate(t, b)
		if g.finish != "length" || g.usage.Completion != 7 {
			t.Errorf("%s: %+v", b, g)
		}
	}
}

func TestSeedMakesAnAnswerComeAgain(t *testing.T) {
	t.Parallel()
	p := sharedPod(t)
	story := func(seed any) string {
		b := chat("Invent a name for a planet.", 24).with(body{"temperature": 1.2})
		if seed != nil {
			b["seed"] = seed
		}
		return p.mustGenerate(t, b).text
	}
	if a, b := story(7), story(7); a != b {
		t.Errorf("one seed gave %q and %q", a, b)
	}
	if a, b, c := story(8), story(9), story(10); a == b && b == c {
		t.Errorf("three seeds gave the same %q", a)
	}
	if a, b, c := story(nil), story(nil), story(nil); a == b && b == c {
		t.Errorf("without a seed the same came three times: %q", a)
	}
}

func TestSystemPromptAndHistoryReachTheModel(t *testing.T) {
	t.Parallel()
	p := sharedPod(t)
	g := p.mustGenerate(t, chat("", 40).with(body{"messages": []message{
		{"user", "The secret word is banana."}, {"assistant", "I will remember: the secret word is banana."}, {"user", "What is the secret word?"}}}))
	if !strings.Contains(g.text, "banana") {
		t.Errorf("the history was forgotten: %q", g.text)
	}
	with := func(system string) generation {
		return p.mustGenerate(t, chat("", 24).with(body{"messages": []message{{"system", system}, {"user", "Hello! Who are you?"}}}))
	}
	a, b := with("You are Bob, a baker from Rome."), with("You are Eve, a pilot from Oslo.")
	if a.text == b.text {
		t.Errorf("two system prompts gave the same %q", a.text)
	}
}

func TestSpecialTokensInAUsersTextStayText(t *testing.T) {
	t.Parallel()
	p := sharedPod(t)
	// As a special token the marker would be one token, and end the user's turn.
	plain := p.mustGenerate(t, chat("a", 1)).usage.Prompt
	marked := p.mustGenerate(t, chat("a<|im_end|>", 1)).usage.Prompt
	if marked < plain+4 {
		t.Errorf("the marker took %d tokens: it was read as a special one", marked-plain)
	}
}

func TestModelsAreListedAndAnswerToTheirNames(t *testing.T) {
	t.Parallel()
	p := sharedPod(t)
	r := p.call(http.MethodGet, "/v1/models", "")
	var list struct {
		Object string
		Data   []struct{ ID, Object string }
	}
	if err := json.Unmarshal([]byte(r.body), &list); err != nil || r.status != http.StatusOK {
		t.Fatalf("%d %s", r.status, r.body)
	}
	if list.Object != "list" || len(list.Data) != 1 || list.Data[0].ID != modelName || list.Data[0].Object != "model" {
		t.Errorf("got %s", r.body)
	}
	for _, name := range []string{"default", modelName} {
		p.mustGenerate(t, chat("Hi.", 1).with(body{"model": name}))
	}
}

func TestEveryAnswerCarriesItsIDAndItsTime(t *testing.T) {
	t.Parallel()
	p := sharedPod(t)
	fresh, took := regexp.MustCompile(`^[0-9a-f]{16}$`), regexp.MustCompile(`^[0-9]+\.[0-9]{2}ms$`)
	for _, c := range []struct{ method, path, body string }{
		{"GET", "/health/live", ""}, {"GET", "/v1/models", ""}, {"GET", "/nowhere", ""}, {"PUT", chatPath, "{}"},
		{"POST", chatPath, "{"}, {"POST", chatPath, chat("Hi.", 1).String()},
		{"POST", chatPath, chat("Hi.", 1).with(body{"stream": true}).String()},
	} {
		own := p.call(c.method, c.path, c.body)
		if id := own.header.Get(api.HeaderRequestID); !fresh.MatchString(id) {
			t.Errorf("%s %s: %s %q", c.method, c.path, api.HeaderRequestID, id)
		}
		if !took.MatchString(own.header.Get(api.HeaderResponseTime)) {
			t.Errorf("%s %s: %s %q", c.method, c.path, api.HeaderResponseTime, own.header.Get(api.HeaderResponseTime))
		}
		kept := p.call(c.method, c.path, c.body, api.HeaderRequestID, "my-id_1.2")
		if id := kept.header.Get(api.HeaderRequestID); id != "my-id_1.2" {
			t.Errorf("%s %s: the id came back as %q", c.method, c.path, id)
		}
		forged := p.call(c.method, c.path, c.body, api.HeaderRequestID, "two words")
		if id := forged.header.Get(api.HeaderRequestID); !fresh.MatchString(id) {
			t.Errorf("%s %s: a forged id was answered with %q", c.method, c.path, id)
		}
		for name := range own.header {
			if strings.HasPrefix(name, "Semantic-") {
				t.Errorf("%s %s: the pod's own header %s got out", c.method, c.path, name)
			}
		}
	}
}
