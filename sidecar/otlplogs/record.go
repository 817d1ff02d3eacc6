// Package otlplogs sends log lines to an OpenTelemetry collector, over HTTP and in
// protobuf, and says of each what became of it.
//
// Read: record (a line in OTLP's form), client (the call, and what its answer means).
package otlplogs

import (
	"encoding/hex"
	"encoding/json"
	"strconv"
	"strings"
	"time"

	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	logspb "go.opentelemetry.io/proto/otlp/logs/v1"
)

// severities are OTLP's numbers of zap's levels.
var severities = map[string]logspb.SeverityNumber{
	"debug": logspb.SeverityNumber_SEVERITY_NUMBER_DEBUG, "info": logspb.SeverityNumber_SEVERITY_NUMBER_INFO,
	"warn": logspb.SeverityNumber_SEVERITY_NUMBER_WARN, "error": logspb.SeverityNumber_SEVERITY_NUMBER_ERROR,
	"dpanic": logspb.SeverityNumber_SEVERITY_NUMBER_ERROR2, "panic": logspb.SeverityNumber_SEVERITY_NUMBER_FATAL,
	"fatal": logspb.SeverityNumber_SEVERITY_NUMBER_FATAL2,
}

// record writes a line in OTLP's form: what OTLP has a field for goes there, msg is the
// body, and all else, boot and seq too, are attributes. A line that is no JSON object
// is a body alone.
func record(line []byte, now time.Time) *logspb.LogRecord {
	r := &logspb.LogRecord{ObservedTimeUnixNano: uint64(now.UnixNano())}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(line, &fields); err != nil || fields == nil {
		r.Body = text(strings.TrimSuffix(strings.ToValidUTF8(string(line), "\uFFFD"), "\n"))
		return r
	}
	r.Attributes = make([]*commonpb.KeyValue, 0, len(fields))
	for name, raw := range fields {
		if v := value(raw); !take(r, name, v.GetStringValue()) {
			r.Attributes = append(r.Attributes, &commonpb.KeyValue{Key: name, Value: v})
		}
	}
	return r
}

// take puts a value into the record's own field, if there is one for it.
func take(r *logspb.LogRecord, name, value string) bool {
	switch name {
	case "ts":
		at, err := time.Parse(time.RFC3339Nano, value)
		if err == nil {
			r.TimeUnixNano = uint64(at.UnixNano())
		}
		return err == nil
	case "level":
		r.SeverityText, r.SeverityNumber = value, severities[value]
		return value != ""
	case "msg":
		r.Body = text(value)
		return value != ""
	case "trace_id":
		id, err := hex.DecodeString(value)
		if err != nil || len(id) != 16 {
			return false
		}
		r.TraceId = id
		return true
	case "span_id":
		id, err := hex.DecodeString(value)
		if err != nil || len(id) != 8 {
			return false
		}
		r.SpanId = id
		return true
	}
	return false
}

// value keeps a JSON value's kind. Objects and lists stay JSON.
func value(raw json.RawMessage) *commonpb.AnyValue {
	switch raw[0] {
	case '"':
		var s string
		if json.Unmarshal(raw, &s) == nil {
			return text(s)
		}
	case 't', 'f':
		return &commonpb.AnyValue{Value: &commonpb.AnyValue_BoolValue{BoolValue: raw[0] == 't'}}
	case 'n', '{', '[':
	default:
		if n, err := strconv.ParseInt(string(raw), 10, 64); err == nil {
			return &commonpb.AnyValue{Value: &commonpb.AnyValue_IntValue{IntValue: n}}
		}
		if f, err := strconv.ParseFloat(string(raw), 64); err == nil {
			return &commonpb.AnyValue{Value: &commonpb.AnyValue_DoubleValue{DoubleValue: f}}
		}
	}
	return text(string(raw))
}

func text(s string) *commonpb.AnyValue {
	return &commonpb.AnyValue{Value: &commonpb.AnyValue_StringValue{StringValue: s}}
}
