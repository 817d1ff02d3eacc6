package e2e

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// keysCommand runs `semantic keys …` on the pod's file and returns what it printed.
func keysCommand(t *testing.T, dir string, args ...string) string {
	t.Helper()
	p, err := run(dir, nil, append([]string{"keys"}, args...)...)
	if err != nil {
		t.Fatal(err)
	}
	if status, err := p.status(patience); err != nil || status != 0 {
		t.Fatalf("keys %v: status %d, %v\n%s", args, status, err, p.stderr)
	}
	return p.stdout.String()
}

func TestKeyOpensThePodUntilItIsRevoked(t *testing.T) {
	t.Parallel()
	dir := shortDir(t)
	file := filepath.Join(dir, "own-keys.yaml")
	out := keysCommand(t, dir, "create", "--key-file", file, "--name", "ci", "--tenant", "acme", "--tokens-per-minute", "60000")
	var key string
	for word := range strings.FieldsSeq(out) {
		if strings.HasPrefix(word, "sk-sem-") {
			key = word
		}
	}
	if key == "" {
		t.Fatalf("no key was printed: %s", out)
	}
	const other = "a-key-from-the-environment"
	p := newDoomedPod(t, settings{args: []string{"--key-file", file}, env: []string{"SEMANTIC_API_KEYS=app:" + other}})
	ask := func(header ...string) reply {
		return p.call(http.MethodPost, chatPath, chat("Hi.", 1).String(), header...)
	}
	if r := ask(); r.status != http.StatusUnauthorized || r.header.Get("WWW-Authenticate") != "Bearer" {
		t.Errorf("without a key: %d %s", r.status, r.body)
	}
	r := ask("Authorization", "Bearer "+key)
	if r.status != http.StatusOK || r.header.Get("X-RateLimit-Limit-Tokens") != "60000" {
		t.Errorf("with the key: %d %v %s", r.status, r.header, r.body)
	}
	if r := ask("x-api-key", other); r.status != http.StatusOK {
		t.Errorf("with the environment's: %d %s", r.status, r.body)
	}
	for _, process := range []string{"engine", "sidecar", "proxy"} {
		env, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", p.childPID(process)))
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(string(env), other); got != (process == "proxy") {
			t.Errorf("%s has the keys in its environment: %v", process, got)
		}
	}
	keysCommand(t, dir, "revoke", "--key-file", file, "ci")
	revoked := time.Now()
	await(t, "the key's end", func() bool { return ask("Authorization", "Bearer "+key).status == http.StatusUnauthorized })
	if took := time.Since(revoked); took > 3*time.Second {
		t.Errorf("the key was good for %v after it was revoked", took)
	}
	p.mustStop(t)
	for _, process := range []string{"serve", "proxy", "engine", "sidecar"} {
		log, err := os.ReadFile(p.log(process))
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(log), key) || strings.Contains(string(log), other) {
			t.Errorf("%s.log holds a key", process)
		}
	}
}
