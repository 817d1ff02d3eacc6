package proxy

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// inLoop calls f in the harness's loop, in which no event happens meanwhile.
func (h *harness) inLoop(f func(l *loop)) {
	h.t.Helper()
	l, done := h.lanes[0], make(chan struct{})
	if !l.post(func() { defer close(done); f(l) }) {
		h.t.Fatal("the loop has ended")
	}
	<-done
}

// guestOn is a client at the other end of a pair of sockets.
func guestOn(l *loop, fd int) *guest {
	g := &guest{loop: l, conn: &conn{p: l.p, client: "127.0.0.1"}, fd: fd}
	g.conn.lane, g.alarm = g, alarm{ring: g.timeUp, owner: g}
	return g
}

// Requests of one batch go to the engine behind one another, when all have been worked on.
func TestABatchGoesToTheEngineTogether(t *testing.T) {
	h := start(t, ok)
	const clients = 5
	var guests, engines [clients][2]int
	for i := range clients {
		guests[i], engines[i] = pair(t), pair(t)
	}
	h.inLoop(func(l *loop) {
		buf := make([]byte, 4096)
		for i := range clients {
			l.idle = append(l.idle, &upstream{loop: l, fd: engines[i][0], reused: true})
			g := guestOn(l, guests[i][0])
			g.begin()
			g.take([]byte(post(`{"model":"m"}`)))
			defer l.alarms.drop(&g.alarm)
			if n, err := readNow(engines[i][1], buf); !errors.Is(err, errMore) {
				t.Errorf("request %d went out by itself: %q, %v", i, buf[:n], err)
			}
		}
		l.flush()
		for i := range clients {
			if n, err := readNow(engines[i][1], buf); err != nil || !bytes.HasPrefix(buf[:n], []byte("POST /v1/")) {
				t.Errorf("the engine was not sent request %d: %q, %v", i, buf[:n], err)
			}
		}
		for _, q := range l.questions {
			t.Errorf("%v is still to be sent", q)
		}
	})
}

// What a client has no room for comes before all that it is sent later.
func TestPiecesKeepTheirOrderWhenAClientIsSlow(t *testing.T) {
	h := start(t, ok)
	fds := pair(t)
	h.inLoop(func(l *loop) {
		g := guestOn(l, fds[0])
		defer l.alarms.drop(&g.alarm)
		large, want := strings.Repeat("0123456789abcdef", 64<<10), ""
		for _, piece := range []string{large, "second", "third"} {
			g.append([]byte(piece))
			g.push()
			want += piece
		}
		l.flush()
		if len(g.out) == 0 || g.queued != 0 {
			t.Errorf("%d bytes wait with the client, %d pieces with the batch", len(g.out), g.queued)
		}
		var got []byte
		buf := make([]byte, 64<<10)
		for len(got) < len(want) {
			n, err := readNow(fds[1], buf)
			if err != nil {
				t.Errorf("%v after %d bytes of %d", err, len(got), len(want))
				return
			}
			got = append(got, buf[:n]...)
			g.writeOn()
		}
		if string(got) != want {
			t.Error("the client was sent something else")
		}
		if !g.freeBy.IsZero() {
			t.Error("there is a deadline for nothing")
		}
	})
}

// A client that is gone before the batch ends is sent nothing: its descriptor may be
// another's by then.
func TestTheGoneAreSentNothing(t *testing.T) {
	h := start(t, ok)
	fds := pair(t)
	h.inLoop(func(l *loop) {
		g := guestOn(l, fds[0])
		g.append([]byte("late"))
		g.push()
		g.leaveLoop()
		g.state = gone
		l.flush()
		buf := make([]byte, 16)
		if n, err := readNow(fds[1], buf); !errors.Is(err, errMore) {
			t.Errorf("it was sent %q, %v", buf[:n], err)
		}
	})
}

// An engine's connection that has died while it rested is told by the first write, which
// may come after the whole batch was worked on: the request goes on with another.
func TestAStaleConnectionIsReplacedAtTheEndOfTheBatch(t *testing.T) {
	h := start(t, ok)
	client, stale, fresh := pair(t), pair(t), pair(t)
	if err := unix.Shutdown(stale[1], unix.SHUT_RDWR); err != nil {
		t.Fatal(err)
	}
	h.inLoop(func(l *loop) {
		for _, fd := range []int{fresh[0], stale[0]} { // the last one is used first
			own, err := unix.Dup(fd)
			if err != nil {
				t.Error(err)
				return
			}
			u := &upstream{loop: l, fd: own, reused: true}
			if u.at, err = l.add(own, u, edges); err != nil {
				t.Error(err)
				return
			}
			l.idle = append(l.idle, u)
		}
		g := guestOn(l, client[0])
		defer l.alarms.drop(&g.alarm)
		g.begin()
		g.take([]byte(post(`{"model":"m"}`)))
		l.flush()
		buf := make([]byte, 4096)
		if n, err := readNow(fresh[1], buf); err != nil || !bytes.HasPrefix(buf[:n], []byte("POST /v1/")) {
			t.Errorf("the other connection has %q, %v", buf[:n], err)
		}
		if g.state != awaiting {
			t.Errorf("the request is in state %d", g.state)
		}
		g.hangUpEngine()
	})
}
