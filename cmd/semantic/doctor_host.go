package main

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/semantic-pod/semantic/api"
)

// socketOf asks a process for its state.
func (c *doctorCmd) socketOf(process string) func(context.Context) finding {
	path := filepath.Join(c.SocketDir, process+".sock")
	return func(ctx context.Context) finding {
		info, err := os.Stat(path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return bad("start it (semantic serve, or semantic "+process+"), or say where its socket is: --socket-dir", "%s is not there", path)
		case errors.Is(err, fs.ErrPermission):
			return bad("run as the user of the pod", "%s may not be looked at by user %d", path, os.Geteuid())
		case err != nil:
			return bad("look at the folder --socket-dir", "%v", err)
		case info.Mode()&fs.ModeSocket == 0:
			return bad("move it away and start "+process+" again", "%s is no socket", path)
		}
		status, err := askSocket(ctx, c, path)
		switch {
		case errors.Is(err, syscall.ECONNREFUSED):
			return bad("nobody listens: start "+process+" again; it replaces what a killed one left", "%s refuses connections", path)
		case errors.Is(err, syscall.EACCES):
			return bad("run as the user of the pod", "%s may not be used by user %d", path, os.Geteuid())
		case err != nil:
			return bad("see "+filepath.Join(c.LogDir, process+".log")+"; if it stands still, kill it: it is started again", "%s does not answer: %v", path, err)
		case status != http.StatusOK:
			return bad("see "+filepath.Join(c.LogDir, process+".log"), "%s answers %d", path, status)
		}
		return well("%s answers", path)
	}
}

func askSocket(ctx context.Context, c *doctorCmd, path string) (status int, err error) {
	client := http.Client{Timeout: c.Timeout, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", path)
		},
	}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://pod"+api.PathState, nil)
	if err != nil {
		return 0, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0, err
	}
	return resp.StatusCode, resp.Body.Close()
}

// permissions: nobody else may use the sockets, and we may write state and logs.
func (c *doctorCmd) permissions(context.Context) finding {
	for _, process := range []string{"proxy", "engine", "sidecar"} {
		path := filepath.Join(c.SocketDir, process+".sock")
		info, err := os.Stat(path)
		if err != nil {
			continue // the check of the socket says so
		}
		if mode := info.Mode().Perm(); mode&0o077 != 0 {
			return bad("chmod 600 "+path+", and find out who changed it", "%s can be used by others (mode %04o), without any key", path, mode)
		}
	}
	for _, dir := range []struct{ flag, path string }{{"data-dir", c.DataDir}, {"log-dir", c.LogDir}, {"socket-dir", c.SocketDir}} {
		if err := unix.Access(dir.path, unix.R_OK|unix.W_OK|unix.X_OK); err != nil {
			return bad(fmt.Sprintf("give it to user %d (chown), or set another --%s", os.Geteuid(), dir.flag), "--%s=%s cannot be read and written: %v", dir.flag, dir.path, err)
		}
		info, err := os.Stat(dir.path)
		if err != nil {
			return bad("look at --"+dir.flag, "%v", err)
		}
		if mode := info.Mode(); mode.Perm()&0o002 != 0 && mode&(fs.ModeSticky|fs.ModeSetgid) == 0 {
			return bad("chmod 700 "+dir.path, "--%s=%s can be written by everybody (mode %04o)", dir.flag, dir.path, mode.Perm())
		}
	}
	return well("the sockets are the pod's own, its folders can be written")
}

func (c *doctorCmd) disk(context.Context) finding {
	least, where := 1.0, ""
	for _, dir := range []struct{ flag, path string }{{"data-dir", c.DataDir}, {"log-dir", c.LogDir}} {
		var fs unix.Statfs_t
		if err := unix.Statfs(dir.path, &fs); err != nil {
			return bad("make it, or set another --"+dir.flag, "--%s=%s: %v", dir.flag, dir.path, err)
		}
		if fs.Blocks == 0 {
			continue // a file system that counts none
		}
		if free := float64(fs.Bavail) / float64(fs.Blocks); free <= least {
			least, where = free, fmt.Sprintf("--%s=%s", dir.flag, dir.path)
		}
	}
	if least < c.MinFree {
		return bad("make room or a larger volume, or keep less: --cache-disk, --cache-ttl for agents, --log-max-bytes, --log-keep for logs",
			"%s has %.1f %% free", where, 100*least)
	}
	return well("at least %.0f %% of each volume are free", 100*least)
}

// openFiles looks at the limit of the proxy that runs; of another one's, at our own.
func (c *doctorCmd) openFiles(context.Context) finding {
	const others = 512 // logs, the engine's socket, the runtime's own
	limit, whose := ownFileLimit(), "this process"
	if n, ok := fileLimitOf(filepath.Join(c.SocketDir, "proxy.sock")); ok {
		limit, whose = n, "the proxy"
	}
	if need := uint64(c.MaxConnections + others); limit < need {
		return bad(fmt.Sprintf("raise it to %d (LimitNOFILE= in a unit, ulimit -n in a shell), or lower --max-connections to %d", need, max(1, int(limit)-others)),
			"%s may open %d files, fewer than --max-connections=%d needs", whose, limit, c.MaxConnections)
	}
	return well("%s may open %d files", whose, limit)
}

func ownFileLimit() uint64 {
	var r unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &r); err != nil {
		return 0
	}
	return r.Cur
}

// fileLimitOf finds out who listens on a socket, and reads its limit.
func fileLimitOf(socket string) (limit uint64, ok bool) {
	conn, err := net.Dial("unix", socket)
	if err != nil {
		return 0, false
	}
	defer conn.Close()
	raw, err := conn.(*net.UnixConn).SyscallConn()
	if err != nil {
		return 0, false
	}
	var peer *unix.Ucred
	if err := raw.Control(func(fd uintptr) { peer, _ = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }); err != nil || peer == nil || peer.Pid == 0 {
		return 0, false // it is in another container
	}
	text, err := os.ReadFile("/proc/" + strconv.Itoa(int(peer.Pid)) + "/limits")
	if err != nil {
		return 0, false
	}
	for line := range strings.Lines(string(text)) {
		if rest, is := strings.CutPrefix(line, "Max open files"); is {
			limit, err = strconv.ParseUint(strings.Fields(rest)[0], 10, 64)
			return limit, err == nil
		}
	}
	return 0, false
}

// authorities: without them no https address of an upstream, a store or a key set works.
func authorities(context.Context) finding {
	roots, err := x509.SystemCertPool()
	if err != nil || roots.Equal(x509.NewCertPool()) {
		return bad("install ca-certificates, or unset SSL_CERT_FILE and SSL_CERT_DIR", "none is known (%v)", err)
	}
	return well("known")
}
