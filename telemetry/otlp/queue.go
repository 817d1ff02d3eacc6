package otlp

import (
	"context"
	"sync"
	"time"

	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.uber.org/zap"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/semantic-pod/semantic/telemetry"
)

// queueSize bounds what waits for the collector.
type queueSize struct {
	spans, batch int
	delay        time.Duration // a span waits no longer than this for others
	limit        time.Duration // of one export, its retries included
}

// queue holds spans, written as they are sent, until its goroutine sends them. It never
// blocks who records a span, and counts every span that the collector did not get.
type queue struct {
	to       otlptrace.Client
	size     queueSize
	resource []byte // see preamble
	scope    []byte
	lost     *telemetry.Counter
	log      *zap.Logger

	mu      sync.Mutex
	pending []byte // spans, one after the other
	ends    []int  // where each of them ends
	closed  bool

	full    chan struct{} // capacity 1: a batch is there
	closing chan struct{}
	once    sync.Once
	done    chan struct{}
	context context.Context // of the exports; ends when Shutdown's does
	cancel  context.CancelFunc

	sending []byte // the goroutine's own: the message of what it took
	failed  bool   // the last export did
}

func newQueue(to otlptrace.Client, size queueSize, resource, scope []byte, lost *telemetry.Counter, log *zap.Logger) (*queue, error) {
	q := &queue{
		to: to, size: size, resource: resource, scope: scope, lost: lost, log: log,
		full: make(chan struct{}, 1), closing: make(chan struct{}), done: make(chan struct{}),
	}
	q.context, q.cancel = context.WithCancel(context.Background())
	if err := to.Start(q.context); err != nil {
		q.cancel()
		return nil, err
	}
	go q.run()
	return q, nil
}

// add writes a span down, unless too many wait.
func (q *queue) add(s *Span) {
	q.mu.Lock()
	if q.closed || len(q.ends) >= q.size.spans {
		q.mu.Unlock()
		q.lost.Inc()
		return
	}
	q.pending = appendSpan(q.pending, s)
	q.ends = append(q.ends, len(q.pending))
	enough := len(q.ends) == q.size.batch
	q.mu.Unlock()
	if enough {
		select {
		case q.full <- struct{}{}:
		default: // it knows
		}
	}
}

// shutdown sends what waits, until ctx ends; the rest counts as lost.
func (q *queue) shutdown(ctx context.Context) error {
	q.once.Do(func() { close(q.closing) })
	select {
	case <-q.done:
	case <-ctx.Done():
		q.cancel()
		<-q.done
	}
	q.cancel()
	return q.to.Stop(ctx)
}

func (q *queue) run() {
	defer close(q.done)
	tick := time.NewTicker(q.size.delay)
	defer tick.Stop()
	for {
		least := 1
		select {
		case <-q.full:
			least = q.size.batch
		case <-tick.C:
		case <-q.closing:
			q.mu.Lock()
			q.closed = true
			q.mu.Unlock()
			q.send(1)
			return
		}
		q.send(least)
	}
}

// send exports what waits, batch by batch, as long as there is so much of it.
func (q *queue) send(least int) {
	for {
		n := q.take(least)
		if n == 0 {
			return
		}
		q.export(n)
	}
}

// take moves a batch out of what waits, and returns how many spans it has.
func (q *queue) take(least int) int {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.ends) < least || len(q.ends) == 0 {
		return 0
	}
	n := min(len(q.ends), q.size.batch)
	cut := q.ends[n-1]
	q.sending = append(q.sending[:0], q.resource...)
	q.sending = protowire.AppendVarint(protowire.AppendTag(q.sending, resourceSpansScopeSpans, protowire.BytesType), uint64(len(q.scope)+cut))
	q.sending = append(append(q.sending, q.scope...), q.pending[:cut]...)
	q.pending = q.pending[:copy(q.pending, q.pending[cut:])]
	q.ends = q.ends[:copy(q.ends, q.ends[n:])]
	for i := range q.ends {
		q.ends[i] -= cut
	}
	return n
}

// export sends what was taken. The client tries again by itself until the limit.
func (q *queue) export(n int) {
	ctx, cancel := context.WithTimeout(q.context, q.size.limit)
	err := q.to.UploadTraces(ctx, envelope(q.sending))
	cancel()
	if err != nil {
		q.lost.Add(n)
	}
	switch {
	case err != nil && !q.failed:
		q.log.Warn("the collector does not take spans; they are dropped and counted until it does", zap.Error(err))
	case err == nil && q.failed:
		q.log.Info("the collector takes spans again")
	}
	q.failed = err != nil
}
