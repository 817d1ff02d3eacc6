package sidecar

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// injector has the kernel fail calls of this process that touch the file system, by a
// seccomp filter that asks it about each of them. What fails is the real call of the real
// program; nothing in the program knows of it. A process that has one keeps it.
type injector struct {
	listener uintptr
	memory   *os.File
	under    []string // folders whose calls count

	mu     sync.Mutex
	armed  bool
	calls  int // since it was armed
	failAt int // the number of the call that fails
	onward bool
	errno  unix.Errno
	failed string // the first one that failed
}

// injected are the calls that it is asked about, with the place of their path, or of
// their descriptor, among the arguments.
var injected = map[int32]struct {
	name string
	path int // -1: the first argument is a descriptor
}{
	unix.SYS_OPENAT: {"open", 1}, unix.SYS_UNLINKAT: {"unlink", 1}, unix.SYS_RENAMEAT: {"rename", 1}, unix.SYS_RENAMEAT2: {"rename", 1},
	unix.SYS_LINKAT: {"link", 1}, unix.SYS_MKDIRAT: {"mkdir", 1},
	unix.SYS_FSYNC: {"fsync", -1}, unix.SYS_FDATASYNC: {"fdatasync", -1}, unix.SYS_FTRUNCATE: {"ftruncate", -1},
	unix.SYS_FALLOCATE: {"fallocate", -1}, unix.SYS_FLOCK: {"flock", -1}, unix.SYS_GETDENTS64: {"getdents", -1},
}

// The kernel's seccomp_notif and seccomp_notif_resp; see seccomp_unotify(2).
type (
	seccompAsked struct {
		id         uint64
		pid, flags uint32
		nr         int32
		arch       uint32
		ip         uint64
		args       [6]uint64
	}
	seccompAnswer struct {
		id    uint64
		val   int64
		errno int32
		flags uint32
	}
)

const (
	seccompSetFilter   = 1
	seccompForAll      = 1 << 0 // SECCOMP_FILTER_FLAG_TSYNC
	seccompListener    = 1 << 3
	seccompForAllESRCH = 1 << 4
	seccompAsk         = 0x7fc00000
	seccompAllow       = 0x7fff0000
	seccompReceive     = 0xc0502100
	seccompSend        = 0xc0182101
	seccompContinue    = 1
)

func newInjector(under ...string) *injector {
	memory, err := os.Open("/proc/self/mem")
	must(err)
	in := &injector{memory: memory, under: under}
	filter := []unix.SockFilter{{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS}} // the call's number
	for nr := range injected {
		filter = append(filter, unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jf: 1, K: uint32(nr)},
			unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: seccompAsk})
	}
	filter = append(filter, unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: seccompAllow})
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	must(unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
	fd, _, errno := unix.Syscall(unix.SYS_SECCOMP, seccompSetFilter, seccompForAll|seccompListener|seccompForAllESRCH, uintptr(unsafe.Pointer(&program)))
	if errno != 0 {
		panic(fmt.Sprintf("the kernel takes no seccomp filter that asks (Linux 5.7 has it): %v", errno))
	}
	in.listener = fd
	go in.answer() // until the process ends
	return in
}

// answer decides about one call after the other. It must make none of them itself.
func (in *injector) answer() {
	runtime.LockOSThread()
	for {
		var asked seccompAsked
		if _, _, errno := unix.Syscall(unix.SYS_IOCTL, in.listener, seccompReceive, uintptr(unsafe.Pointer(&asked))); errno != 0 {
			continue // interrupted, or the caller is gone
		}
		answer := seccompAnswer{id: asked.id, flags: seccompContinue}
		if errno := in.decide(&asked); errno != 0 {
			answer.flags, answer.errno = 0, -int32(errno)
		}
		_, _, _ = unix.Syscall(unix.SYS_IOCTL, in.listener, seccompSend, uintptr(unsafe.Pointer(&answer)))
	}
}

func (in *injector) decide(asked *seccompAsked) unix.Errno {
	in.mu.Lock()
	defer in.mu.Unlock()
	if !in.armed {
		return 0
	}
	call := injected[asked.nr]
	path := in.path(asked, call.path)
	counts := false
	for _, dir := range in.under {
		counts = counts || path == dir || strings.HasPrefix(path, dir+"/")
	}
	if !counts {
		return 0
	}
	in.calls++
	if in.calls != in.failAt && !(in.onward && in.calls > in.failAt) {
		return 0
	}
	if in.failed == "" {
		in.failed = call.name + " " + path
	}
	return in.errno
}

func (in *injector) path(asked *seccompAsked, place int) string {
	if place < 0 {
		path, _ := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", asked.args[0]))
		return path
	}
	buf := make([]byte, 512)
	n, _ := in.memory.ReadAt(buf, int64(asked.args[place]))
	text, _, _ := bytes.Cut(buf[:n], []byte{0})
	return string(text)
}

// arm has the nth call from now on fail, and if onward all after it.
func (in *injector) arm(n int, onward bool, errno unix.Errno) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.armed, in.calls, in.failAt, in.onward, in.errno, in.failed = true, 0, n, onward, errno, ""
}

// disarm lets all calls pass, and tells which one failed first and how many there were.
func (in *injector) disarm() (failed string, calls int) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.armed = false
	return in.failed, in.calls
}
