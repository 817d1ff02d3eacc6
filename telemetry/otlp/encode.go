package otlp

import (
	"math"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/encoding/protowire"
)

// Spans are written in OTLP's protobuf form at once, when they are told: a copy of a
// few hundred bytes, where a tree of messages would cost a hundred pieces of garbage.
// The numbers of the fields are those of opentelemetry/proto/trace/v1/trace.proto.
const (
	resourceSpansResource   = 1
	resourceSpansScopeSpans = 2
	scopeSpansScope         = 1
	scopeSpansSpans         = 2
	attributesOfResource    = 1

	spanTraceID, spanID, spanParent, spanName, spanKind = 1, 2, 4, 5, 6
	spanStart, spanEnd, spanAttributes, spanLinks       = 7, 8, 9, 13
	spanStatus, spanFlags                               = 15, 16

	linkTraceID, linkSpanID, linkAttributes, linkFlags = 1, 2, 4, 6

	statusMessage, statusCode = 2, 3
	statusError               = 2

	flagsRemoteKnown, flagsRemote = 0x100, 0x200
)

// preamble is what stands before the spans of a message: the resource, and of ScopeSpans
// all but these.
func preamble(resource []attribute.KeyValue, version string) (raw, scoped []byte) {
	raw = appendRaw(nil, resourceSpansResource, appendAttributes(nil, attributesOfResource, resource))
	scoped, at := open(nil, scopeSpansScope)
	return raw, closed(appendText(appendText(scoped, 1, scope), 2, version), at)
}

// open begins a field that has a length, and close writes that: in three bytes, which
// are enough for two megabytes and need not be moved.
func open(b []byte, field protowire.Number) ([]byte, int) {
	b = append(protowire.AppendTag(b, field, protowire.BytesType), 0x80, 0x80, 0)
	return b, len(b)
}

func closed(b []byte, at int) []byte {
	n := len(b) - at
	b[at-3], b[at-2], b[at-1] = byte(n)|0x80, byte(n>>7)|0x80, byte(n>>14)
	return b
}

func appendText(b []byte, field protowire.Number, text string) []byte {
	return protowire.AppendString(protowire.AppendTag(b, field, protowire.BytesType), text)
}

func appendRaw(b []byte, field protowire.Number, raw []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(b, field, protowire.BytesType), raw)
}

func appendTime(b []byte, field protowire.Number, t time.Time) []byte {
	return protowire.AppendFixed64(protowire.AppendTag(b, field, protowire.Fixed64Type), uint64(t.UnixNano()))
}

// appendSpan writes a span as a field of ScopeSpans.
func appendSpan(b []byte, s *Span) []byte {
	b, at := open(b, scopeSpansSpans)
	b = appendRaw(b, spanTraceID, s.Trace[:])
	b = appendRaw(b, spanID, s.ID[:])
	flags := uint32(trace.FlagsSampled) | flagsRemoteKnown
	if s.Parent.IsValid() {
		b = appendRaw(b, spanParent, s.Parent[:])
		if s.Remote {
			flags |= flagsRemote
		}
	}
	b = appendText(b, spanName, s.Name)
	b = protowire.AppendVarint(protowire.AppendTag(b, spanKind, protowire.VarintType), uint64(s.Kind))
	b = appendTime(b, spanStart, s.Start)
	b = appendTime(b, spanEnd, s.End)
	b = appendAttributes(b, spanAttributes, s.Attributes)
	for i := range s.Links {
		b = appendLink(b, &s.Links[i])
	}
	if s.Failed != "" {
		var status int
		b, status = open(b, spanStatus)
		b = appendText(b, statusMessage, s.Failed)
		b = protowire.AppendVarint(protowire.AppendTag(b, statusCode, protowire.VarintType), statusError)
		b = closed(b, status)
	}
	b = protowire.AppendFixed32(protowire.AppendTag(b, spanFlags, protowire.Fixed32Type), flags)
	return closed(b, at)
}

func appendLink(b []byte, l *trace.Link) []byte {
	b, at := open(b, spanLinks)
	id, span := l.SpanContext.TraceID(), l.SpanContext.SpanID()
	b = appendRaw(b, linkTraceID, id[:])
	b = appendRaw(b, linkSpanID, span[:])
	b = appendAttributes(b, linkAttributes, l.Attributes)
	b = protowire.AppendFixed32(protowire.AppendTag(b, linkFlags, protowire.Fixed32Type), uint32(l.SpanContext.TraceFlags())|flagsRemoteKnown)
	return closed(b, at)
}

// appendAttributes writes each as a KeyValue.
func appendAttributes(b []byte, field protowire.Number, all []attribute.KeyValue) []byte {
	for i := range all {
		var at int
		b, at = open(b, field)
		b = appendText(b, 1, string(all[i].Key))
		b = appendValue(b, 2, &all[i].Value)
		b = closed(b, at)
	}
	return b
}

// appendValue writes an AnyValue of one of the types that our attributes have; any
// other as its text.
func appendValue(b []byte, field protowire.Number, v *attribute.Value) []byte {
	b, at := open(b, field)
	switch v.Type() {
	case attribute.STRING:
		b = appendText(b, 1, v.AsString())
	case attribute.BOOL:
		b = protowire.AppendVarint(protowire.AppendTag(b, 2, protowire.VarintType), protowire.EncodeBool(v.AsBool()))
	case attribute.INT64:
		b = protowire.AppendVarint(protowire.AppendTag(b, 3, protowire.VarintType), uint64(v.AsInt64()))
	case attribute.FLOAT64:
		b = appendDouble(b, 4, v.AsFloat64())
	case attribute.STRINGSLICE:
		var list int
		b, list = open(b, 5)
		for _, text := range v.AsStringSlice() {
			var one int
			b, one = open(b, 1)
			b = closed(appendText(b, 1, text), one)
		}
		b = closed(b, list)
	default:
		b = appendText(b, 1, v.String())
	}
	return closed(b, at)
}

// envelope makes what a client uploads of what is written: the library's own message,
// with all that is in it as bytes that it sends as they are.
func envelope(raw []byte) []*tracepb.ResourceSpans {
	m := new(tracepb.ResourceSpans)
	m.ProtoReflect().SetUnknown(raw)
	return []*tracepb.ResourceSpans{m}
}

func appendDouble(b []byte, field protowire.Number, v float64) []byte {
	return protowire.AppendFixed64(protowire.AppendTag(b, field, protowire.Fixed64Type), math.Float64bits(v))
}
