// Command reverseproxy is what a Go programmer would write first: net/http's
// ReverseProxy with the work that Semantic's proxy does.
package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"flag"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"sync"
	"time"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:8000", "address to listen on")
	engine := flag.String("engine", "", "Unix socket of the backend")
	key := flag.String("key", "", "the only API key")
	path := flag.String("log", "access.log", "access log")
	flag.Parse()
	file, err := os.Create(*path)
	if err != nil {
		log.Fatal(err)
	}
	out := &lines{w: bufio.NewWriterSize(file, 64<<10)}
	go out.flushEverySecond()
	f := &front{
		digest: sha256.Sum256([]byte("Bearer " + *key)),
		rates:  map[string]*bucket{},
		access: slog.New(slog.NewJSONHandler(out, nil)),
		proxy: &httputil.ReverseProxy{
			Rewrite: func(r *httputil.ProxyRequest) {
				r.SetURL(&url.URL{Scheme: "http", Host: "engine"})
				r.Out.Header.Del("Authorization")
				r.Out.Header.Set("Semantic-Tenant", "bench")
			},
			FlushInterval: -1,
			Transport: &http.Transport{
				DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
					return new(net.Dialer).DialContext(ctx, "unix", *engine)
				},
				MaxIdleConnsPerHost: 512,
				DisableCompression:  true,
			},
		},
	}
	log.Fatal(http.ListenAndServe(*listen, f))
}

type front struct {
	digest [sha256.Size]byte
	mu     sync.Mutex
	rates  map[string]*bucket
	access *slog.Logger
	proxy  *httputil.ReverseProxy
}

func (f *front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/health/ready" {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"status":"ready","pool_utilization":0}`))
		return
	}
	began := time.Now()
	id := r.Header.Get("X-Request-ID")
	if id == "" {
		var b [8]byte
		rand.Read(b[:])
		id = hex.EncodeToString(b[:])
	}
	r.Header.Set("X-Request-ID", id)
	w.Header().Set("X-Request-ID", id)
	seen := &writer{ResponseWriter: w, status: http.StatusOK}
	presented := r.Header.Get("Authorization")
	sum := sha256.Sum256([]byte(presented))
	switch {
	case subtle.ConstantTimeCompare(sum[:], f.digest[:]) != 1:
		http.Error(seen, "no good API key", http.StatusUnauthorized)
	case !f.allow(presented, began):
		http.Error(seen, "too many requests", http.StatusTooManyRequests)
	default:
		f.proxy.ServeHTTP(seen, r)
	}
	f.access.LogAttrs(r.Context(), slog.LevelInfo, "request",
		slog.String("request_id", id), slog.String("tenant", "bench"), slog.String("method", r.Method), slog.String("path", r.URL.Path),
		slog.Int("status", seen.status), slog.Duration("duration", time.Since(began)),
		slog.Int64("bytes_in", r.ContentLength), slog.Int64("bytes_out", seen.bytes), slog.String("client", r.RemoteAddr))
}

func (f *front) allow(key string, now time.Time) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	b := f.rates[key]
	if b == nil {
		b = &bucket{tokens: perSecond, at: now}
		f.rates[key] = b
	}
	return b.take(now)
}

// perSecond is both rate and burst.
const perSecond = 1e6

type bucket struct {
	tokens float64
	at     time.Time
}

func (b *bucket) take(now time.Time) bool {
	b.tokens = min(perSecond, b.tokens+perSecond*now.Sub(b.at).Seconds())
	b.at = now
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}

// writer remembers what the access log tells.
type writer struct {
	http.ResponseWriter
	status int
	bytes  int64
}

func (w *writer) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

func (w *writer) Write(b []byte) (int, error) {
	n, err := w.ResponseWriter.Write(b)
	w.bytes += int64(n)
	return n, err
}

// Unwrap lets ReverseProxy flush.
func (w *writer) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// lines is the access log's file, buffered.
type lines struct {
	mu sync.Mutex
	w  *bufio.Writer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(b)
}

func (l *lines) flushEverySecond() {
	for range time.Tick(time.Second) {
		l.mu.Lock()
		_ = l.w.Flush()
		l.mu.Unlock()
	}
}
