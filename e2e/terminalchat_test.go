package e2e

import (
	"io"
	"os/exec"
	"strings"
	"testing"
)

// TestChatOnATerminal types to a pod on a pseudo terminal: streams, history, an agent, figures.
func TestChatOnATerminal(t *testing.T) {
	t.Parallel()
	p := newPod(t, "--model", "semantic-builtin")
	x := onTerminal(t, 240, 30, nil, "chat", "--url", p.url)
	x.shows(t, `/agent NAME`)
	typed := func(keys string) {
		t.Helper()
		if _, err := io.WriteString(x.pty, keys); err != nil {
			t.Fatal(err)
		}
	}
	typed("/agent night shift\r")
	x.shows(t, `the agent is night shift`)
	typed("What is the KV pooll\x7f?\r")
	x.shows(t, `> What is the KV pool\?`)
	x.shows(t, `blocks of tokens`)
	typed("/stats\r")
	x.shows(t, `last answer: first token after [\d.]+m?s, \d+ tokens/s, \d+ tokens \(stop\), 0 of \d+ prompt tokens cached`)
	typed("\x1b[A\x1b[A\r") // up, up: the question again
	await(t, "the question a second time", func() bool { return strings.Count(x.screen(), "> What is the KV pool?") == 2 })
	typed("/stats\r")
	x.shows(t, `[1-9]\d* of \d+ prompt tokens cached, request \S+; in all 2 answers`)
	typed("/frobnicate\r")
	x.shows(t, `there is no /frobnicate`)
	typed("/quit\r")
	<-x.left
	if status := x.process.ProcessState.ExitCode(); status != 0 {
		t.Errorf("status %d", status)
	}
	if after := x.modes(t); after != x.before {
		t.Errorf("the terminal's modes are %+v, they were %+v", after, x.before)
	}
}

// TestChatThroughAPipe gives it a line a question.
func TestChatThroughAPipe(t *testing.T) {
	t.Parallel()
	p := newPod(t, "--model", "semantic-builtin")
	chat := exec.Command(semantic, "chat", "--url", p.url, "--agent", "piped")
	chat.Stdin = strings.NewReader("What is the KV pool?\n\n/stats\n")
	out, err := chat.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "blocks of tokens") || !strings.Contains(string(out), "in all 1 answers") {
		t.Errorf("%v\n%s", err, out)
	}
	p.mustStop(t)
	chat = exec.Command(semantic, "chat", "--url", p.url)
	chat.Stdin = strings.NewReader("Hello?\n")
	if out, err := chat.CombinedOutput(); err == nil || chat.ProcessState.ExitCode() != 1 || !strings.Contains(string(out), "--url") {
		t.Errorf("without a pod: %v\n%s", err, out)
	}
}
