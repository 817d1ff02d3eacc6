package console

import (
	"context"
	"io"
	"net/http"
	"strings"
	"time"
)

// Bounds of the playground.
const (
	maxChats     = 8
	maxChatBody  = 1 << 20
	chatTime     = 10 * time.Minute
	chatPatience = 2 * time.Minute // until the answer begins
)

// chat passes a chat on to the proxy's front door, as any client's: with the key that the person
// gave the page, which nobody keeps, and with nothing of the console's own.
func (c *Console) chat(w http.ResponseWriter, r *http.Request) {
	select {
	case c.chats <- struct{}{}:
		defer func() { <-c.chats }()
	default:
		w.Header().Set("Retry-After", "2")
		refuse(w, http.StatusTooManyRequests, "the playground has enough to do")
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), chatTime)
	defer cancel()
	body := http.MaxBytesReader(w, r.Body, maxChatBody)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimRight(c.cfg.ProxyURL, "/")+"/v1/chat/completions", body)
	if err != nil {
		refuse(w, http.StatusInternalServerError, "--proxy-url: "+err.Error())
		return
	}
	req.Header.Set("Content-Type", "application/json")
	req.ContentLength = r.ContentLength
	for _, name := range []string{"Authorization", "X-Agent-Id"} {
		if v := r.Header.Get(name); v != "" {
			req.Header.Set(name, v)
		}
	}
	resp, err := c.relay.Do(req)
	if err != nil {
		refuse(w, http.StatusBadGateway, "the proxy at "+c.cfg.ProxyURL+" does not answer: "+err.Error())
		return
	}
	defer resp.Body.Close()
	for _, name := range []string{"X-Request-Id", "Retry-After", "Semantic-Agent-Conflict"} {
		if v := resp.Header.Get(name); v != "" {
			w.Header().Set(name, v)
		}
	}
	out := newStream(w, resp.Header.Get("Content-Type"))
	w.WriteHeader(resp.StatusCode)
	piece := make([]byte, 16<<10)
	for {
		n, err := resp.Body.Read(piece)
		if n > 0 && out.send(piece[:n]) != nil {
			return
		}
		if err == io.EOF {
			return
		} else if err != nil {
			panic(http.ErrAbortHandler) // the page must not take a cut answer for a whole one
		}
	}
}
