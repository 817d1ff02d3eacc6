package otlp

import (
	"context"
	"errors"
	"sync"
	"time"

	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/resource"
	"go.uber.org/zap"

	"github.com/semantic-pod/semantic/telemetry"
)

// metricLoop sends the process's families at an interval: the numbers that a scrape
// would read at that moment.
type metricLoop struct {
	to       sdkmetric.Exporter
	interval time.Duration
	timeout  time.Duration
	about    *resource.Resource
	metrics  *telemetry.Metrics
	lost     *telemetry.Counter
	log      *zap.Logger
	start    time.Time

	closing chan struct{}
	once    sync.Once
	done    chan struct{}
	context context.Context
	cancel  context.CancelFunc
	failed  bool // the last export did; the goroutine's own
}

func startMetrics(to sdkmetric.Exporter, interval, timeout time.Duration, about *resource.Resource, m *telemetry.Metrics, lost *telemetry.Counter, log *zap.Logger) *metricLoop {
	l := &metricLoop{
		to: to, interval: interval, timeout: timeout, about: about, metrics: m, lost: lost, log: log, start: time.Now(),
		closing: make(chan struct{}), done: make(chan struct{}),
	}
	l.context, l.cancel = context.WithCancel(context.Background())
	go l.run()
	return l
}

func (l *metricLoop) run() {
	defer close(l.done)
	tick := time.NewTicker(l.interval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			l.export()
		case <-l.closing:
			l.export() // the last numbers
			return
		}
	}
}

func (l *metricLoop) export() {
	ctx, cancel := context.WithTimeout(l.context, l.timeout)
	defer cancel()
	families, err := convert(l.metrics, l.start, time.Now())
	if err == nil {
		err = l.to.Export(ctx, &metricdata.ResourceMetrics{Resource: l.about, ScopeMetrics: []metricdata.ScopeMetrics{families}})
	}
	if err != nil {
		l.lost.Inc()
	}
	switch {
	case err != nil && !l.failed:
		l.log.Warn("the collector does not take metrics; exports are lost and counted until it does", zap.Error(err))
	case err == nil && l.failed:
		l.log.Info("the collector takes metrics again")
	}
	l.failed = err != nil
}

// close sends the numbers once more, until ctx ends.
func (l *metricLoop) close(ctx context.Context) error {
	l.once.Do(func() { close(l.closing) })
	var err error
	select {
	case <-l.done:
	case <-ctx.Done():
		err = ctx.Err()
		l.cancel()
		<-l.done
	}
	l.cancel()
	return errors.Join(err, l.to.Shutdown(ctx))
}
