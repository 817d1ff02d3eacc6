package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
)

// A small tmpfs is the full disk. It is mounted in a mount namespace of a child process, so that
// nothing of it outlives the test, and in a user namespace too where the tests do not run as root.
func TestFullDiskFailsWritesByReasonAndHarmsNothing(t *testing.T) {
	cmd := role("full disk", t.TempDir())
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
	if os.Getuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}}
	}
	out, err := cmd.Output()
	if _, ended := errors.AsType[*exec.ExitError](err); err != nil && !ended {
		t.Fatalf("cannot mount a small disk: run the tests as root, or allow user namespaces (sysctl kernel.unprivileged_userns_clone=1): %v", err)
	}
	if err != nil || string(out) != "ok\n" {
		t.Fatalf("%v\n%s", err, out)
	}
}

// fillDisk is the child: it writes agents until the disk is full, and then some.
func fillDisk() {
	defer func() {
		if r := recover(); r != nil {
			fmt.Println(r)
			os.Exit(1)
		}
	}()
	must(syscall.Mount("", "/", "", syscall.MS_PRIVATE|syscall.MS_REC, ""))
	must(syscall.Mount("tmpfs", os.Args[1], "tmpfs", 0, "size=4m"))
	writeUntilFull(filepath.Join(os.Args[1], "cache"))
	fmt.Println("ok")
	os.Exit(0)
}

func writeUntilFull(dir string) {
	o := counted(killOptions()) // agents of half a megabyte
	s, err := Open(dir, o)
	must(err)
	made := func(id, version int) Agent {
		return makeSized(o.Geometry, "acme", fmt.Sprint(id), version, killedTokens)
	}
	served := func(s *Store, id, version int) {
		got, err := read(s, "acme", fmt.Sprint(id))
		must(err)
		if !equal(got, made(id, version)) {
			panic(fmt.Sprintf("agent %d is served wrong", id))
		}
	}
	full := 0
	for ; ; full++ {
		if err = s.Write(context.Background(), made(full, 1)); err != nil {
			break
		}
	}
	if full < 5 || reasonOf(err) != NoSpace {
		panic(fmt.Sprintf("after %d agents: %v", full, err))
	}
	for id := range full { // newer states find no room, and the old ones stay
		if err := s.Write(context.Background(), made(id, 2)); reasonOf(err) != NoSpace {
			panic(err)
		}
		served(s, id, 1)
	}
	if n := o.Metrics.failures[NoSpace].Get(); n != uint64(full+1) {
		panic(fmt.Sprintf("%d failures are counted of %d", n, full+1))
	}
	must(s.Close())
	s, err = Open(dir, o) // a restart on the full disk
	must(err)
	if r := s.Report(); r.Agents != full || r.Temporary != 0 {
		panic(fmt.Sprintf("found %+v", r))
	}
	path := s.path("acme", "0") // a bad file on the full disk is put aside all the same
	b, err := os.ReadFile(path)
	must(err)
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	must(err)
	_, err = f.WriteAt([]byte{^b[5000]}, 5000)
	must(err)
	if _, err := read(s, "acme", "0"); !isBad(err, Checksum) {
		panic(err)
	}
	must(s.Delete(context.Background(), "acme", "1")) // room
	must(s.Write(context.Background(), made(2, 2)))
	served(s, 2, 2)
	served(s, 3, 1)
}
