package engine

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/semantic-pod/semantic/api"
	"github.com/semantic-pod/semantic/telemetry/otlp"
)

// outcomeNames announces the trailers of a stream.
var outcomeNames = strings.Join(api.Outcome, ", ")

// setOutcome tells the proxy how a request ended: as headers, or as the trailers
// that a stream announced. Counts and times come with what was admitted.
func setOutcome(h http.Header, f api.Finish, r result) {
	h.Set(api.HeaderFinish, string(f))
	if r.times.arrival.IsZero() {
		return
	}
	h.Set(api.HeaderPromptTokens, strconv.Itoa(r.usage.Prompt))
	h.Set(api.HeaderCachedTokens, strconv.Itoa(r.usage.Cached))
	h.Set(api.HeaderCompletionTokens, strconv.Itoa(r.usage.Completion))
	h.Set(api.HeaderTTFT, decimal(r.times.ttft()))
	h.Set(api.HeaderQueueTime, decimal(r.times.queue()))
	h.Set(api.HeaderPrefillTime, decimal(r.times.prefill()))
	h.Set(api.HeaderDecodeTime, decimal(r.times.decode()))
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1e3 }

func decimal(d time.Duration) string { return strconv.FormatFloat(milliseconds(d), 'f', 3, 64) }

// close counts and logs a request that is over. What the prompt or the answer said
// is never logged.
func (x *exchange) close(internal bool) {
	if internal {
		return
	}
	switch x.finish {
	case api.FinishStop, api.FinishLength, api.FinishToolCalls, api.FinishOK:
	default:
		x.engine.metrics.tokensWasted.Add(x.result.usage.Completion)
	}
	x.engine.metrics.vllm.ended(x.result, x.finish)
	x.tell()
	fields := []zap.Field{
		zap.String("request_id", x.id),
		zap.String("tenant", x.tenant),
		zap.String("method", x.r.Method),
		zap.String("path", x.loggedPath()),
		zap.Int("status", x.status),
		zap.String("finish", string(x.finish)),
		zap.Float64("duration_ms", milliseconds(time.Since(x.arrival))),
		zap.Int("bytes_in", x.bytesIn),
		zap.Int("bytes_out", x.bytesOut),
	}
	traceID, spanID := x.traceIDs()
	for _, optional := range []struct{ field, value string }{{"trace_id", traceID}, {"span_id", spanID}, {"key", x.r.Header.Get(api.HeaderKey)}, {"agent", x.agent}} {
		if optional.value != "" {
			fields = append(fields, zap.String(optional.field, optional.value))
		}
	}
	if r := x.result; !r.times.arrival.IsZero() {
		fields = append(fields,
			zap.Float64("ttft_ms", milliseconds(r.times.ttft())),
			zap.Float64("queue_ms", milliseconds(r.times.queue())),
			zap.Int("prompt_tokens", r.usage.Prompt),
			zap.Int("cached_tokens", r.usage.Cached),
			zap.Int("completion_tokens", r.usage.Completion),
		)
	}
	x.engine.log.Zap().Info("request", fields...)
}

// traceIDs are the trace that the proxy gave the request, whether it is recorded or
// not, and the engine's span in it, if it has one.
func (x *exchange) traceIDs() (traceID, spanID string) {
	if x.trace != nil && !x.result.times.arrival.IsZero() {
		return x.trace.own.TraceID().String(), x.trace.own.SpanID().String()
	}
	if sc := otlp.Parent(x.r.Header.Get(api.HeaderTraceparent)); sc.IsValid() {
		return sc.TraceID().String(), ""
	}
	return "", ""
}

// loggedPath is the path of a route that exists: any other is the client's text.
func (x *exchange) loggedPath() string {
	if x.template != "" {
		return x.template
	}
	return "unknown"
}
