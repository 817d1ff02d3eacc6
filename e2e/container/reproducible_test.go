package container

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The same binary gives the same image, whatever its time and mode, to the id with podman
// and buildah. What is in the image, layer by layer, is the same each time with docker's
// daemon too, whose old builder writes the time into the id.
func TestImageIsReproducible(t *testing.T) {
	startDocker(t)
	made := map[string]built{}
	for _, b := range []struct {
		tool string
		mode os.FileMode
	}{{"podman", 0o755}, {"podman", 0o700}, {"buildah", 0o755}, {"docker", 0o755}, {"docker", 0o700}} {
		name := fmt.Sprintf("localhost/semantic-test:reproducible-%s-%o", b.tool, b.mode)
		buildImage(t, b.tool, b.mode, name)
		engine, like := podman, "podman-755"
		if b.tool == "docker" {
			engine, like = docker, "docker-755"
		}
		i := lookInto(t, engine, name)
		made[fmt.Sprintf("%s-%o", b.tool, b.mode)] = i
		same := made[like]
		if b.tool == "docker" {
			i.id, same.id = "", ""
		}
		if i != same {
			t.Errorf("%s made %+v, and %s %+v", b.tool, i, like, same)
		}
	}
	if by := made["docker-755"]; by.files != made["podman-755"].files {
		t.Errorf("docker's image holds %s, podman's %s", by.files, made["podman-755"].files)
	}
	t.Logf("%+v", made["podman-755"])
}

// built is what an image is, and all of what it brings.
type built struct{ id, layers, files string }

// lookInto asks podman or docker for an image, and removes it.
func lookInto(t *testing.T, engine func(*testing.T, ...string) string, name string) built {
	t.Helper()
	var of []struct {
		ID     string
		RootFS struct{ Layers []string }
	}
	if err := json.Unmarshal([]byte(engine(t, "image", "inspect", name)), &of); err != nil || len(of) != 1 {
		t.Fatalf("%v %v", of, err)
	}
	container := engine(t, "create", name)
	archive := filepath.Join(t.TempDir(), "rootfs.tar")
	engine(t, "export", "--output", archive, container)
	engine(t, "rm", container)
	engine(t, "rmi", name)
	return built{id: of[0].ID, layers: strings.Join(of[0].RootFS.Layers, " "), files: shipped(t, archive)}
}

func buildImage(t *testing.T, tool string, mode os.FileMode, name string) {
	t.Helper()
	binary, err := os.ReadFile("../../bin/semantic")
	if err != nil {
		t.Fatal(err)
	}
	copied := filepath.Join(t.TempDir(), "semantic")
	if err := errors.Join(os.WriteFile(copied, binary, mode), os.Chmod(copied, mode)); err != nil {
		t.Fatal(err)
	}
	script, err := filepath.Abs("../../tools/image.sh")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(script, copied, name)
	cmd.Env = append(os.Environ(), "IMAGE_TOOL="+tool, "IMAGE_CACHE=no")
	if _, err := output(cmd); err != nil {
		t.Fatal(err)
	}
}

// shipped tells all of what the image brought, and nothing of what the container got.
func shipped(t *testing.T, archive string) string {
	t.Helper()
	f, err := os.Open(archive)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var all []string
	for files := tar.NewReader(f); ; {
		h, err := files.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.New()
		if _, err := io.Copy(sum, files); err != nil {
			t.Fatal(err)
		}
		name := strings.Trim(h.Name, "./")
		if h.Size > 0 || name == "data" {
			all = append(all, fmt.Sprintf("%s %c %o %d:%d %s %x", name, h.Typeflag, h.Mode&0o7777, h.Uid, h.Gid, h.ModTime.UTC().Format(time.DateTime), sum.Sum(nil)))
		}
	}
	slices.Sort(all)
	if len(all) != 2 {
		t.Errorf("the image holds %q, not a binary and a folder", all)
	}
	return strings.Join(all, ", ")
}

// startDocker starts a daemon of the test's own, which touches no network.
func startDocker(t *testing.T) {
	t.Helper()
	dir, err := os.MkdirTemp("", "docker") // t.TempDir's names are too long for its sockets
	if err != nil {
		t.Fatal(err)
	}
	socket := "unix://" + filepath.Join(dir, "docker.sock")
	cmd := exec.Command("dockerd", "--host", socket, "--data-root", filepath.Join(dir, "data"), "--exec-root", filepath.Join(dir, "exec"),
		"--pidfile", filepath.Join(dir, "pid"), "--storage-driver", "vfs", "--bridge", "none", "--iptables=false", "--ip6tables=false")
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	left := make(chan error, 1)
	go func() { left <- cmd.Wait() }()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-left:
		case <-time.After(patience):
			_ = cmd.Process.Kill()
			<-left
		}
		if t.Failed() {
			said, _ := os.ReadFile(log.Name())
			t.Logf("dockerd:\n%s", said[max(0, len(said)-3000):])
		}
		os.RemoveAll(dir)
	})
	t.Setenv("DOCKER_HOST", socket)
	await(t, "docker's daemon", func() bool {
		select {
		case err := <-left:
			left <- err
			t.Fatalf("dockerd ended: %v", err)
		default:
		}
		_, err := output(exec.Command("docker", "info"))
		return err == nil
	})
}

func docker(t *testing.T, args ...string) string {
	t.Helper()
	out, err := output(exec.Command("docker", args...))
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(out)
}
