package console

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"time"
)

// Bounds of the pages that are open.
const (
	maxPages  = 64
	pageQueue = 8 // events that a page may be behind; then it is let go, and comes back by itself
	sendTime  = 10 * time.Second
)

// hub gives every page each event, made once for all.
type hub struct {
	mu     sync.Mutex
	pages  map[chan []byte]bool
	last   []byte // the newest event, for who comes
	closed bool
}

func newHub() *hub { return &hub{pages: map[chan []byte]bool{}} }

// tell makes the event of a look.
func (h *hub) tell(s snapshot) {
	row := []byte{'['}
	for i, v := range s.values {
		if i > 0 {
			row = append(row, ',')
		}
		row = appendNumber(row, v)
	}
	row = append(row, ']')
	event, err := json.Marshal(struct {
		snapshot
		At     int64           `json:"at"`
		Values json.RawMessage `json:"values"`
	}{s, s.at.UnixMilli(), row})
	if err != nil {
		panic(err) // structs of plain fields
	}
	event = fmt.Appendf(nil, "event: look\ndata: %s\n\n", event)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.last = event
	for page := range h.pages {
		select {
		case page <- event:
		default:
			delete(h.pages, page)
			close(page)
		}
	}
}

// join returns the events from now on; false when there are too many pages.
func (h *hub) join() (page chan []byte, last []byte, ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed || len(h.pages) >= maxPages {
		return nil, nil, false
	}
	page = make(chan []byte, pageQueue)
	h.pages[page] = true
	return page, h.last, true
}

func (h *hub) leave(page chan []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.pages, page)
}

// close lets all pages go.
func (h *hub) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	for page := range h.pages {
		close(page)
	}
	clear(h.pages)
}

// events sends the last hour, then each look as it is made.
func (c *Console) events(w http.ResponseWriter, r *http.Request) {
	page, last, ok := c.hub.join()
	if !ok {
		w.Header().Set("Retry-After", "5")
		refuse(w, http.StatusServiceUnavailable, fmt.Sprintf("%d consoles are open already, or the sidecar stops", maxPages))
		return
	}
	defer c.hub.leave(page)
	out := newStream(w, "text/event-stream")
	names, err := json.Marshal(columns)
	if err != nil {
		panic(err) // strings
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "retry: 1000\nevent: hour\ndata: {\"columns\":%s,\"rows\":%s}\n\n", names, c.ring.appendJSON(nil))
	b.Write(last)
	err = out.send(b.Bytes())
	for err == nil {
		select {
		case <-r.Context().Done():
			return
		case event, ok := <-page:
			if !ok || !c.sessions.known(presented(r), time.Now()) {
				return
			}
			err = out.send(event)
		}
	}
}

// stream is an answer without an end of its own. Each piece has its time to leave.
type stream struct {
	w  http.ResponseWriter
	rc *http.ResponseController
}

func newStream(w http.ResponseWriter, contentType string) stream {
	s := stream{w, http.NewResponseController(w)}
	_ = s.rc.SetReadDeadline(time.Time{}) // the server's is for requests
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("X-Accel-Buffering", "no")
	return s
}

func (s stream) send(piece []byte) error {
	if err := s.rc.SetWriteDeadline(time.Now().Add(sendTime)); err != nil {
		return err
	}
	if _, err := s.w.Write(piece); err != nil {
		return err
	}
	return s.rc.Flush()
}
