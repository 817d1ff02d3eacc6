package load

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// Balancer is HAProxy in front of pods. It sends new requests, or new connections, to
// the pods whose /health/ready says so, and leaves to themselves those under way.
type Balancer struct {
	HTTP string // address where it takes requests, and keeps connections to the pods
	TCP  string // where it takes connections, as a Service of Kubernetes does

	cmd    *exec.Cmd
	socket string
	output bytes.Buffer
	left   chan struct{}
}

// inter is also how long a check may take to connect. A pod that has become unready is
// known within 1.1 s: its drain delay must be longer.
const balancerConfig = `
global
	stats socket %s mode 600
defaults
	timeout connect 5s
	timeout client 5m
	timeout server 5m
	timeout check 30s
	option redispatch 1
	log stdout format raw local0
	option dontlog-normal
	option tcplog
	option httpchk GET /health/ready
	http-check expect status 200
	default-server check inter 1s fastinter 100ms downinter 100ms fall 2 rise 1
listen requests
	mode http
	bind %s
%s
listen connections
	mode tcp
	bind %s
%s`

// NewBalancer starts HAProxy for pods at these addresses, whether they are there or not.
func NewBalancer(dir, http, tcp string, pods ...string) (*Balancer, error) {
	b := &Balancer{HTTP: http, TCP: tcp, socket: filepath.Join(dir, "haproxy.sock"), left: make(chan struct{})}
	servers := ""
	for i, pod := range pods {
		servers += fmt.Sprintf("\tserver pod%d %s\n", i, pod)
	}
	file := filepath.Join(dir, "haproxy.cfg")
	text := fmt.Sprintf(balancerConfig, b.socket, http, servers, tcp, servers)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return nil, err
	}
	b.cmd = exec.Command("haproxy", "-db", "-f", file)
	b.cmd.Stdout, b.cmd.Stderr = &b.output, &b.output
	b.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := b.cmd.Start(); err != nil {
		return nil, fmt.Errorf("cannot start the balancer: %w; run: make test-setup", err)
	}
	go func() {
		_ = b.cmd.Wait() // Stop kills it
		close(b.left)
	}()
	return b, nil
}

// Stop ends the balancer and returns what it said.
func (b *Balancer) Stop() string {
	_ = b.cmd.Process.Kill()
	<-b.left
	return b.output.String()
}

// Sends reports whether both of the balancer's listeners send to that pod.
func (b *Balancer) Sends(pod int) (bool, error) {
	select {
	case <-b.left:
		return false, fmt.Errorf("the balancer is gone:\n%s", &b.output)
	default:
	}
	conn, err := net.Dial("unix", b.socket)
	if err != nil {
		return false, nil //nolint:nilerr // it has only just been started
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.WriteString(conn, "show stat\n"); err != nil {
		return false, err
	}
	rows, err := csv.NewReader(conn).ReadAll()
	if err != nil || len(rows) == 0 {
		return false, err
	}
	column := func(name string) int { return slices.Index(rows[0], name) }
	name, status, check := column("svname"), column("status"), column("check_status")
	up := 0
	for _, row := range rows {
		if row[name] == fmt.Sprintf("pod%d", pod) && strings.HasPrefix(row[status], "UP") && strings.HasSuffix(row[check], "L7OK") {
			up++
		}
	}
	return up == 2, nil
}
