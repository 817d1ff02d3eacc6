package e2e

import (
	"bytes"
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/semantic-pod/semantic/engine/enginetest"
)

// refused is a start that must fail: with which status, and saying what.
type refused struct {
	args   []string
	env    []string
	status int
	says   []string
}

const (
	failure = 1
	wrong   = 2 // usage or configuration
)

var threeWays = []string{"make model", "--model PATH", "SEMANTIC_MODEL"}

// check starts it and holds its end to what is wanted.
func (r refused) check(t *testing.T) {
	t.Helper()
	p, err := run(shortDir(t), r.env, r.args...)
	if err != nil {
		t.Fatal(err)
	}
	defer p.kill()
	status, err := p.status(patience)
	if err != nil || status != r.status {
		t.Errorf("ended with status %d, %v; want %d\n%s", status, err, r.status, p.stderr)
	}
	for _, s := range r.says {
		if !strings.Contains(p.stderr.String(), s) {
			t.Errorf("does not say %q:\n%s", s, p.stderr)
		}
	}
	if strings.Contains(p.stderr.String(), "goroutine ") {
		t.Errorf("panicked:\n%s", p.stderr)
	}
}

// TestModelFileThatCannotBeServedEndsTheStart gives each bad file to the engine
// alone and to the whole pod: both end, and say which file and what is wrong.
func TestModelFileThatCannotBeServedEndsTheStart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	good := enginetest.Bytes(enginetest.Shape{})
	file := func(name string, content []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for name, c := range map[string]struct {
		path string
		says []string
	}{
		"missing":                {filepath.Join(dir, "nowhere.gguf"), append(threeWays, "no such file")},
		"a folder":               {dir, []string{"not a regular file"}},
		"empty":                  {file("empty.gguf", nil), []string{"not a GGUF file"}},
		"text":                   {file("text.gguf", []byte("once upon a time there was no model here at all")), []string{"not a GGUF file"}},
		"cut in the header":      {file("header.gguf", good[:16]), []string{"truncated"}},
		"cut in the metadata":    {file("metadata.gguf", good[:1000]), []string{"truncated"}},
		"cut in the tensors":     {file("tensors.gguf", good[:len(good)-5000]), []string{"truncated in the data of tensor"}},
		"unknown version":        {file("version.gguf", patched(t, good, "GGUF", 4, 99)), []string{"version 99"}},
		"unknown architecture":   {file("arch.gguf", bytes.Replace(good, []byte("llama"), []byte("mamba"), 1)), []string{`"mamba"`, "llama", "qwen2"}},
		"unsupported tensor":     {file("type.gguf", patched(t, good, "token_embd.weight", 17+4+2*8, 16)), []string{"token_embd.weight", "IQ2_XXS"}},
		"unknown type of tensor": {file("wild.gguf", patched(t, good, "token_embd.weight", 17+4+2*8, 4711)), []string{"token_embd.weight", "4711"}},
	} {
		for _, command := range []string{"engine", "serve"} {
			t.Run(name+" to "+command, func(t *testing.T) {
				t.Parallel()
				data := shortDir(t)
				args := []string{command, "--data-dir", data, "--model", c.path}
				if command == "serve" {
					args = append(args, podPorts(t)...)
				}
				refused{args: args, status: wrong, says: append(c.says, c.path)}.check(t)
			})
		}
	}
}

// patched returns the file with the little-endian number changed that stands so
// many bytes after the mark's start.
func patched(t *testing.T, file []byte, mark string, after int, value uint32) []byte {
	t.Helper()
	at := bytes.Index(file, []byte(mark))
	if at < 0 {
		t.Fatalf("there is no %s in the file", mark)
	}
	out := bytes.Clone(file)
	binary.LittleEndian.PutUint32(out[at+after:], value)
	return out
}

// podPorts are the flags of a pod that is not to come up.
func podPorts(t *testing.T) []string {
	t.Helper()
	port, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	sidecar, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	return []string{"--port", strconv.Itoa(port), "--sidecar-listen", address(sidecar), "--drain-delay", "0s"}
}

// TestABareBinaryWithoutANetworkAnswers runs a copy of the binary alone, in an empty folder and a
// network namespace that has nothing but its own loopback, and chats with it.
func TestABareBinaryWithoutANetworkAnswers(t *testing.T) {
	t.Parallel()
	dir := shortDir(t)
	b, err := os.ReadFile(semantic)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "semantic"), b, 0o700); err != nil {
		t.Fatal(err)
	}
	const script = `set -e
ip link set lo up 2>/dev/null || true
./semantic serve --data-dir data --port 8000 --sidecar-listen 127.0.0.1:8002 >out 2>err &
pod=$!
trap 's=$?; kill $pod; wait $pod || true; exit $s' EXIT
for i in $(seq 600); do ./semantic probe --socket data/run/proxy.sock /internal/state 2>/dev/null | grep -q '"ready":true' && break; sleep 0.1; done
curl -fsS http://127.0.0.1:8000/v1/models
echo
curl -fsS http://127.0.0.1:8000/v1/chat/completions -H 'Content-Type: application/json' -d '{"model": "default", "temperature": 0, "messages": [{"role": "user", "content": "What is the KV pool?"}]}'
echo
curl -sS --max-time 2 http://192.0.2.1/ 2>&1 || echo "no network"
cat out`
	cmd := exec.CommandContext(t.Context(), "unshare", "--net", "--map-root-user", "--pid", "--fork", "--kill-child", "sh", "-c", script)
	cmd.Dir, cmd.Env = dir, []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{`"id":"semantic-builtin"`, "keys and values of all requests", `"finish_reason":"stop"`, "no network", "No model was given or found"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("there is no %q in\n%s", want, out)
		}
	}
}

// TestAnotherModelIsServedUnderItsName gives a GGUF of one's own.
func TestAnotherModelIsServedUnderItsName(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "tiny.gguf")
	if err := os.WriteFile(path, enginetest.Bytes(enginetest.Shape{}), 0o600); err != nil {
		t.Fatal(err)
	}
	p := newPod(t, "--model", path, "--model-alias", "mine", "--model-alias", "ours")
	for _, name := range []string{"tiny", "mine", "ours", "default"} {
		g := p.mustGenerate(t, chat("Hi.", 4).with(body{"model": name}))
		if g.usage.Completion != 4 {
			t.Errorf("%s: %+v", name, g)
		}
	}
	if r := p.call("GET", "/v1/models", ""); !strings.Contains(r.body, `"id":"tiny"`) || !strings.Contains(r.body, `"id":"ours"`) {
		t.Errorf("models: %s", r.body)
	}
}
