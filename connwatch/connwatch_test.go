package connwatch

import (
	"net"
	"runtime"
	"sync/atomic"
	"testing"
	"time"
)

// patience is how late a departure may be reported on a busy test machine.
const patience = 30 * time.Second

func TestDepartureIsReportedWhileNobodyReads(t *testing.T) {
	leave := map[string]func(*net.TCPConn) error{
		"close":             (*net.TCPConn).Close,
		"shutdown of write": (*net.TCPConn).CloseWrite,
		"reset": func(c *net.TCPConn) error {
			if err := c.SetLinger(0); err != nil {
				return err
			}
			return c.Close()
		},
	}
	for name, how := range leave {
		t.Run(name, func(t *testing.T) {
			w := newWatcher(t)
			client, server := pair(t)
			left := make(chan struct{})
			if _, err := w.Watch(server, func() { close(left) }); err != nil {
				t.Fatal(err)
			}
			// Data that waits unread must neither be taken for a departure nor hide one.
			if _, err := client.Write([]byte("unread")); err != nil {
				t.Fatal(err)
			}
			select {
			case <-left:
				t.Fatal("data was taken for a departure")
			case <-time.After(50 * time.Millisecond):
			}
			if err := how(client); err != nil {
				t.Fatal(err)
			}
			wait(t, left)
		})
	}
}

func TestDepartureBeforeTheWatchIsReportedToo(t *testing.T) {
	w := newWatcher(t)
	client, server := pair(t)
	client.Close()
	time.Sleep(20 * time.Millisecond) // let the kernel deliver the FIN
	left := make(chan struct{})
	if _, err := w.Watch(server, func() { close(left) }); err != nil {
		t.Fatal(err)
	}
	wait(t, left)
}

func TestForgottenConnectionIsNotReported(t *testing.T) {
	w := newWatcher(t)
	client, server := pair(t)
	ticket, err := w.Watch(server, func() { t.Error("a forgotten connection was reported") })
	if err != nil {
		t.Fatal(err)
	}
	w.Forget(ticket)
	client.Close()
	// A second departure, which is reported, shows that the first had its turn.
	client2, server2 := pair(t)
	left := make(chan struct{})
	if _, err := w.Watch(server2, func() { close(left) }); err != nil {
		t.Fatal(err)
	}
	client2.Close()
	wait(t, left)
}

func TestManyDeparturesAtOnceAreEachReportedOnce(t *testing.T) {
	const many = 3*eventsAtOnce + 7
	w := newWatcher(t)
	var calls atomic.Int64
	clients := make([]*net.TCPConn, many)
	for i := range clients {
		client, server := pair(t)
		clients[i] = client
		if _, err := w.Watch(server, func() { calls.Add(1) }); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range clients {
		c.Close()
	}
	for end := time.Now().Add(patience); calls.Load() < many; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d of %d departures were reported", calls.Load(), many)
		}
	}
	time.Sleep(50 * time.Millisecond)
	if n := calls.Load(); n != many {
		t.Fatalf("%d connections left and %d departures were reported", many, n)
	}
}

func TestCloseJoinsTheGoroutine(t *testing.T) {
	before := runtime.NumGoroutine()
	w, err := New()
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if after := runtime.NumGoroutine(); after > before {
		t.Fatalf("%d goroutines before, %d after Close", before, after)
	}
	_, server := pair(t)
	if _, err := w.Watch(server, func() {}); err == nil {
		t.Fatal("a closed watcher took a connection")
	}
}

func newWatcher(t *testing.T) *Watcher {
	t.Helper()
	w, err := New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Close() })
	return w
}

// pair returns both ends of a TCP connection.
func pair(t *testing.T) (client, server *net.TCPConn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	s, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(); s.Close() })
	return c.(*net.TCPConn), s.(*net.TCPConn)
}

func wait(t *testing.T, left <-chan struct{}) {
	t.Helper()
	select {
	case <-left:
	case <-time.After(patience):
		t.Fatal("the departure was not reported")
	}
}
