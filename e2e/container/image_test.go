package container

import (
	"archive/tar"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// The image holds the binary and a folder for its state. What is not in it cannot be
// used by who breaks in.
func TestImageHoldsOneBinaryAndNothingElse(t *testing.T) {
	id := podman(t, "create", image)
	defer podman(t, "rm", id)
	archive := filepath.Join(t.TempDir(), "rootfs.tar")
	podman(t, "export", "--output", archive, id)
	f, err := os.Open(archive)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var size int64
	files := tar.NewReader(f)
	for {
		h, err := files.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		size += h.Size
		switch name := strings.Trim(h.Name, "./"); {
		case name == "semantic":
			if h.Uid != 0 || h.Mode&0o7777 != 0o555 {
				t.Errorf("/semantic belongs to %d with mode %o", h.Uid, h.Mode)
			}
		case name == "data":
			if h.Uid != 65532 || h.Mode&0o7777 != 0o700 {
				t.Errorf("/data belongs to %d with mode %o", h.Uid, h.Mode)
			}
		case h.Size == 0 && slices.Contains([]string{"", "dev", "proc", "sys", "etc", "run", "run/secrets"}, name):
		case h.Size == 0 && (strings.HasPrefix(name, "etc/") || strings.HasPrefix(name, "dev/") || strings.HasPrefix(name, "run/")):
			// where podman mounts what a running container gets
		default:
			t.Errorf("the image holds %s of %d bytes", h.Name, h.Size)
		}
	}
	const most = 60 << 20
	if size == 0 || size > most {
		t.Errorf("the image holds %d bytes, more than %d", size, most)
	}
	t.Logf("%.1f MiB", float64(size)/(1<<20))
}

func TestImageIsNotRootAndSaysWhatItIs(t *testing.T) {
	var of []struct {
		User   string
		Config struct{ Entrypoint []string }
		Labels map[string]string
	}
	if err := json.Unmarshal([]byte(podman(t, "image", "inspect", image)), &of); err != nil || len(of) != 1 {
		t.Fatalf("%v %v", of, err)
	}
	if i := of[0]; i.User != "65532:65532" || !slices.Equal(i.Config.Entrypoint, []string{"/semantic"}) || i.Labels["org.opencontainers.image.licenses"] != "Apache-2.0" {
		t.Errorf("%+v", i)
	}
	version := podman(t, "run", "--rm", "--read-only", "--cap-drop=all", "--security-opt=no-new-privileges", "--network=none", image, "version")
	if !strings.HasPrefix(version, "semantic "+of[0].Labels["org.opencontainers.image.version"]) {
		t.Errorf("it says %q", version)
	}
}

func TestImageIsRefusedWithoutAToolOrABinary(t *testing.T) {
	for _, c := range []struct {
		binary, tool, want string
	}{
		{"../../bin/semantic", "rkt", "none of podman, buildah and docker"},
		{"main_test.go", "podman", "no Linux binary"},
	} {
		path, err := filepath.Abs(c.binary)
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("../../tools/image.sh", path, "localhost/semantic-test:none")
		cmd.Env = append(os.Environ(), "IMAGE_TOOL="+c.tool)
		out, err := cmd.CombinedOutput()
		if err == nil || !strings.Contains(string(out), c.want) {
			t.Errorf("%+v: %v\n%s", c, err, out)
		}
	}
}
