package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// root is the repository's.
var root = func() string {
	dir, err := filepath.Abs("..")
	if err != nil {
		panic(err)
	}
	return dir
}()

// What the tests start, and the make target that provides it.
var (
	semantic = filepath.Join(root, "bin", "semantic")
	model    = filepath.Join(root, "models", modelName+".gguf")
	python   = filepath.Join(root, ".tools", "venv", "bin", "python")
	sdk      = filepath.Join(root, "e2e", "node", "node_modules", "openai", "package.json")
)

const modelName = "smollm2-135m-instruct-q4_1"

// shared is the pod of the tests that only talk to it: nothing there may count,
// kill or reconfigure.
var shared struct {
	once sync.Once
	pod  *pod
	err  error
}

func sharedPod(t *testing.T) *pod {
	t.Helper()
	shared.once.Do(func() { shared.pod, shared.err = startPod(settings{}) })
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	t.Cleanup(func() { shared.pod.show(t) })
	return shared.pod
}

func TestMain(m *testing.M) {
	if err := missing(); err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		os.Exit(1)
	}
	status := m.Run()
	if shared.pod != nil {
		if err := shared.pod.stop(); err != nil {
			fmt.Fprintf(os.Stderr, "e2e: the shared pod: %v\n%s", err, shared.pod.stderr)
			status = 1
		}
		if err := shared.pod.checkSchema(); err != nil {
			fmt.Fprintln(os.Stderr, "e2e: the shared pod:", err)
			status = 1
		}
		shared.pod.discard()
	}
	os.Exit(status)
}

// missing says what is not there, and which target makes it.
func missing() error {
	for _, need := range []struct{ path, target string }{
		{semantic, "make build"}, {model, "make model"}, {python, "make test-setup"}, {sdk, "make test-setup"},
	} {
		if _, err := os.Stat(need.path); err != nil {
			return fmt.Errorf("%w; run: %s", err, need.target)
		}
	}
	for _, tool := range []string{"bash", "curl", "node", "promtool", "prometheus", "prometheus-alertmanager", "amtool", "haproxy", "redis-server"} {
		if _, err := exec.LookPath(tool); err != nil {
			return fmt.Errorf("%w; run: make test-setup", err)
		}
	}
	return nil
}
