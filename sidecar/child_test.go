package sidecar

import (
	"os/exec"
	"runtime"
	"sync"
	"syscall"
)

// children are started by one thread, which never ends: the kernel takes the end of
// the thread that started a process for the end of its parent, and a sidecar that is
// stopped ends the thread of its archiver, which may be any thread from before.
var children = sync.OnceValue(func() chan<- func() {
	starts := make(chan func())
	go func() {
		runtime.LockOSThread()
		for start := range starts {
			start()
		}
	}()
	return starts
})

// startChild starts a process that is killed when the test process ends, however that ends.
func startChild(cmd *exec.Cmd) error {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = new(syscall.SysProcAttr)
	}
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	started := make(chan error)
	children() <- func() { started <- cmd.Start() }
	return <-started
}
