package load

import (
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"syscall"
)

// ports are handed out below the range from which the kernel takes those of
// clients, so that none is taken between our look and the pod's.
var ports = struct {
	sync.Mutex
	next int
}{next: 10_000 + os.Getpid()%1000*20}

// FreePort is a port of loopback that no client of a socket takes, though a listener may.
func FreePort() (int, error) {
	ports.Lock()
	defer ports.Unlock()
	for range 1000 {
		ports.next++
		ln, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", ports.next))
		if errors.Is(err, syscall.EADDRINUSE) {
			continue
		}
		if err != nil {
			return 0, err
		}
		return ports.next, ln.Close()
	}
	return 0, errors.New("no TCP port is free")
}
