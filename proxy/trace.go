package proxy

import (
	"encoding/hex"
	"time"

	"github.com/semantic-pod/semantic/api"
	"github.com/semantic-pod/semantic/telemetry/otlp"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
)

// decide settles whether the request is traced. The engine does as the flag says that
// it gets.
func (t *traceID) decide(e *otlp.Exporter) {
	if !e.Traces() {
		return // what the client's flag says goes on to whoever listens
	}
	t.sampled = e.Samples(t.traceID(), t.continued, t.text[flagsAt+1] == '1')
	t.text[flagsAt+1] = '0'
	if t.sampled {
		t.text[flagsAt+1] = '1'
	}
}

func (t *traceID) traceID() (id trace.TraceID) {
	_, _ = hex.Decode(id[:], t.trace()) // hex digits by construction
	return id
}

func spanID(digits []byte) (id trace.SpanID) {
	_, _ = hex.Decode(id[:], digits)
	return id
}

// operations are OpenTelemetry's words for what the routes do.
var operations = map[string]string{
	"/v1/chat/completions": "chat",
	"/v1/completions":      "text_completion",
	"/v1/messages":         "chat",
	generatePath:           "chat",
}

// tell records the span of a request that has ended. Neither prompts nor answers,
// keys or query strings are on it, nor a path that is no route.
func (x *exchange) tell(status int, took time.Duration, w *waterfall) {
	if !x.trace.sampled {
		return
	}
	method := methodLabel(x.ctx.Method())
	kv := x.attributes[:0] // kept from request to request: Record writes down what it is given
	kv = append(kv,
		attribute.String("http.request.method", method),
		attribute.String("http.route", x.label()),
		attribute.Int("http.response.status_code", status),
		attribute.String("client.address", x.client),
		attribute.String("semantic.request_id", text(x.id)),
		attribute.String("semantic.tenant", x.tenant()),
		attribute.String("semantic.finish", string(x.finish)))
	if x.who != nil {
		kv = append(kv, attribute.String("semantic.key", x.who.Key))
	}
	if agent := x.agent(); len(agent) > 0 && len(agent) <= maxAgent {
		kv = append(kv, attribute.String("gen_ai.conversation.id", text(agent)))
	}
	if operation := operations[x.label()]; operation != "" {
		kv = x.appendGenAI(kv, operation)
	}
	for _, p := range w.phases() {
		if p.took > 0 {
			kv = append(kv, attribute.Float64("semantic."+p.name, rounded(milliseconds(p.took))))
		}
	}
	span := otlp.Span{
		Name: "request", Kind: trace.SpanKindServer,
		Trace: x.trace.traceID(), ID: spanID(x.trace.span()), Remote: true,
		Start: x.start, End: x.start.Add(took), Attributes: kv, Failed: failure(x.finish),
	}
	if x.trace.continued {
		span.Parent = spanID(x.trace.parent[:])
	}
	x.p.otlp.Record(&span)
	clear(kv)
	x.attributes = kv
	x.p.meters.exemplify(x, method, took)
}

// appendGenAI adds what OpenTelemetry's conventions for generative AI ask for.
func (x *exchange) appendGenAI(kv []attribute.KeyValue, operation string) []attribute.KeyValue {
	kv = append(kv, attribute.String("gen_ai.operation.name", operation), attribute.String("gen_ai.provider.name", otlp.Provider))
	if model := scan(x.body).model; len(model) > 0 && len(model) <= maxModel {
		kv = append(kv, attribute.String("gen_ai.request.model", model))
	}
	if x.out.tokens() {
		kv = append(kv,
			attribute.Int64("gen_ai.usage.input_tokens", x.out.prompt),
			attribute.Int64("gen_ai.usage.output_tokens", x.out.completion),
			attribute.Int64("gen_ai.usage.cache_read.input_tokens", x.out.cached),
			attribute.StringSlice("gen_ai.response.finish_reasons", []string{string(x.finish)}))
	}
	if x.ttft > 0 {
		kv = append(kv, attribute.Float64("semantic.ttft_ms", rounded(milliseconds(x.ttft))))
	}
	return kv
}

// maxModel bounds the name of a model on a span: more is the client's text.
const maxModel = 128

// failure is the class of a request that failed, for its span's status. A refusal is
// the client's fault, and no failure.
func failure(f api.Finish) string {
	if isGood(f) || f == api.FinishRejected {
		return ""
	}
	return string(f)
}
