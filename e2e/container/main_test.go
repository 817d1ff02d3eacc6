package container

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// image is what `make image` has built and named.
var image = "localhost/semantic:devel"

func TestMain(m *testing.M) {
	if name := os.Getenv("IMAGE_UNDER_TEST"); name != "" {
		image = name
	}
	status, err := testWithPodman(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e/container:", err)
		status = 1
	}
	os.Exit(status)
}

// testWithPodman gives podman a configuration with which it runs inside a container or
// a small virtual machine too: runc, cgroups by their files, the host's own limit of files.
func testWithPodman(m *testing.M) (int, error) {
	for _, tool := range []string{"podman", "runc", "conmon", "iptables", "zstd", "haproxy", "buildah", "docker", "dockerd"} {
		if _, err := exec.LookPath(tool); err != nil {
			return 1, fmt.Errorf("%w; run as root: make test-setup", err)
		}
	}
	if os.Getuid() != 0 {
		return 1, fmt.Errorf("the containers of these tests need root")
	}
	var files syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files); err != nil {
		return 1, err
	}
	dir, err := os.MkdirTemp("", "containers")
	if err != nil {
		return 1, err
	}
	defer os.RemoveAll(dir)
	conf := filepath.Join(dir, "containers.conf")
	limit := min(files.Max, 20000)
	text := fmt.Sprintf("[containers]\ndefault_ulimits=[\"nofile=%d:%d\",\"nproc=4096:4096\"]\n[engine]\nruntime=\"runc\"\ncgroup_manager=\"cgroupfs\"\n", limit, limit)
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		return 1, err
	}
	if err := os.Setenv("CONTAINERS_CONF", conf); err != nil {
		return 1, err
	}
	if _, err := podmanOutput("image", "exists", image); err != nil {
		return 1, fmt.Errorf("there is no image %s (%w); run: make image", image, err)
	}
	return m.Run(), nil
}

func podmanOutput(args ...string) (string, error) { return output(exec.Command("podman", args...)) }

func output(cmd *exec.Cmd) (string, error) {
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return stdout.String(), fmt.Errorf("%s: %w\n%s%s", strings.Join(cmd.Args, " "), err, &stdout, &stderr)
	}
	return stdout.String(), nil
}

// podman runs it and wants it to succeed.
func podman(t *testing.T, args ...string) string {
	t.Helper()
	out, err := podmanOutput(args...)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(out)
}
