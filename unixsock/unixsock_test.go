package unixsock

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// holdEnv makes the test binary a process that holds a socket until its standard
// input ends.
const holdEnv = "UNIXSOCK_TEST_HOLD"

func TestMain(m *testing.M) {
	if path := os.Getenv(holdEnv); path != "" {
		if _, err := Listen(path); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println("listening")
		os.Stdin.Read(make([]byte, 1))
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// holder starts another process that holds the socket at path.
func holder(t *testing.T, path string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), holdEnv+"="+path)
	if _, err := cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	buf := make([]byte, 256)
	n, _ := out.Read(buf)
	if got := string(buf[:n]); got != "listening\n" {
		t.Fatalf("the holder said %q", got)
	}
	return cmd
}

func TestOnlyTheOwnerCanReachTheSocket(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0))
	dir := filepath.Join(t.TempDir(), "run", "deep")
	l, err := Listen(filepath.Join(dir, "a.sock"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for path, want := range map[string]os.FileMode{dir: 0o700, filepath.Dir(dir): 0o700, l.path: 0o600} {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode().Perm(); got != want {
			t.Errorf("%s has mode %o, want %o", path, got, want)
		}
	}
}

func TestLiveSocketIsRefusedByTheNameOfItsHolder(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.sock")
	cmd := holder(t, path)
	_, err := Listen(path)
	if !errors.Is(err, ErrHeld) {
		t.Fatalf("got %v, want ErrHeld", err)
	}
	if want := fmt.Sprintf("process %d (unixsock.test)", cmd.Process.Pid); !strings.Contains(err.Error(), want) {
		t.Errorf("error %q does not say %q", err, want)
	}
	if conn, err := net.Dial("unix", path); err != nil {
		t.Errorf("the holder's socket is gone: %v", err)
	} else {
		conn.Close()
	}
}

func TestSocketOfAKilledProcessIsTakenOver(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.sock")
	cmd := holder(t, path)
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	cmd.Wait()
	if _, err := os.Lstat(path); err != nil {
		t.Fatalf("the killed process left no stale socket: %v", err)
	}
	l, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
}

func TestWhatIsNoSocketStays(t *testing.T) {
	dir := t.TempDir()
	file, folder, link := filepath.Join(dir, "file"), filepath.Join(dir, "folder"), filepath.Join(dir, "link")
	for _, err := range []error{os.WriteFile(file, []byte("precious"), 0o600), os.Mkdir(folder, 0o700), os.Symlink(file, link)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for path, kind := range map[string]string{file: "plain file", folder: "folder", link: "symbolic link"} {
		_, err := Listen(path)
		if err == nil || !strings.Contains(err.Error(), "a "+kind+" is there, which is no socket") {
			t.Errorf("%s: got %v", path, err)
		}
		if _, err := os.Lstat(path); err != nil {
			t.Errorf("%s was removed: %v", path, err)
		}
	}
	if got, _ := os.ReadFile(file); string(got) != "precious" {
		t.Errorf("the file holds %q", got)
	}
}

func TestTooLongPathIsNamedAsSuch(t *testing.T) {
	_, err := Listen(filepath.Join(t.TempDir(), strings.Repeat("x", 108)))
	if err == nil || !strings.Contains(err.Error(), "choose a shorter --socket-dir") {
		t.Fatalf("got %v", err)
	}
}

func TestCloseRemovesOnlyTheSocketThatWasBound(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.sock")
	first, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	// Somebody moves the first socket away, and another process takes the path.
	if err := os.Rename(path, path+".old"); err != nil {
		t.Fatal(err)
	}
	second, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatalf("the second socket went with the first: %v", err)
	}
	conn.Close()
	for range 2 { // closing twice is closing once
		if err := second.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket stayed after its own listener was closed: %v", err)
	}
}

func TestOfManyStartersOneWins(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.sock")
	cmd := holder(t, path)
	cmd.Process.Kill()
	cmd.Wait() // a stale socket lies at the path when they start
	const starters = 32
	var wg sync.WaitGroup
	listeners := make([]*Listener, starters)
	for i := range starters {
		wg.Go(func() {
			l, err := Listen(path)
			if err != nil && !errors.Is(err, ErrHeld) {
				t.Error(err)
			}
			listeners[i] = l
		})
	}
	wg.Wait()
	won := 0
	for _, l := range listeners {
		if l != nil {
			won++
			defer l.Close()
		}
	}
	if won != 1 {
		t.Errorf("%d of %d starters hold the socket", won, starters)
	}
}
