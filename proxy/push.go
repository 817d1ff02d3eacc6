package proxy

import (
	"errors"
	"time"
)

// append adds to what the client is to be sent.
func (g *guest) append(b []byte) {
	if len(g.out) > 0 {
		g.out = append(g.out, b...)
		return
	}
	g.loop.pending = append(g.loop.pending, b...)
}

// push sends it. What finds no room waits with the client, which has --write-timeout
// to take it; until then nothing more is received for it, so that what waits is no
// more than one read of the engine's connection brought.
func (g *guest) push() {
	l := g.loop
	b, waits := g.out, len(g.out) > 0
	if !waits {
		b = l.pending
	}
	for len(b) > 0 {
		n, err := writeNow(g.fd, b)
		b = b[n:]
		if errors.Is(err, errMore) {
			break
		}
		if err != nil {
			l.pending = l.pending[:0]
			g.out = nil
			g.unwritable(err)
			return
		}
	}
	if waits {
		g.out = b
	} else if len(b) > 0 {
		g.out = append([]byte(nil), b...)
	}
	l.pending = trimmed(l.pending)
	switch {
	case len(g.out) == 0 && waits:
		g.out, g.freeBy = nil, time.Time{}
		g.setAlarm()
	case len(g.out) > 0 && !waits:
		g.freeBy = time.Now().Add(l.p.cfg.WriteTimeout)
		g.setAlarm()
	}
}

// trimmed empties a buffer of the loop, and lets one go that a large answer made.
func trimmed(b []byte) []byte {
	if cap(b) > loopKeep {
		return nil
	}
	return b[:0]
}
