package proxy

import (
	"context"
	"math/rand/v2"
	"testing"

	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// extract reads a traceparent as OpenTelemetry's own propagator does.
func extract(parent string) trace.SpanContext {
	carrier := propagation.MapCarrier{"traceparent": parent}
	return trace.SpanContextFromContext(propagation.TraceContext{}.Extract(context.Background(), carrier))
}

// TestTraceparentIsReadAsOpenTelemetryReadsIt holds our reader, which allocates
// nothing, against the library that the other ends of a trace use.
func TestTraceparentIsReadAsOpenTelemetryReadsIt(t *testing.T) {
	const good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	cases := []string{
		good,
		"", "00", good[:54], good + "0", good + "-extra",
		"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00",
		"00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
		"00-00000000000000000000000000000000-00f067aa0ba902b7-01",
		"00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
		"cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
		"cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-what-comes-later",
		"ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
		"00_4bf92f3577b34da6a3ce929d0e0e4736_00f067aa0ba902b7_01",
		"0g-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
	}
	const alphabet = "0123456789abcdef-gG"
	rng := rand.New(rand.NewPCG(1, 2))
	for range 20_000 { // one or two characters changed
		b := []byte(good)
		for range 1 + rng.IntN(2) {
			b[rng.IntN(len(b))] = alphabet[rng.IntN(len(alphabet))]
		}
		cases = append(cases, string(b))
	}
	taken := 0
	for _, c := range cases {
		want := extract(c)
		var got traceID
		got.continueFrom([]byte(c))
		if got.continued != want.IsValid() {
			// The library refuses flags that version 00 does not define; W3C says to
			// take what is known of them and go on.
			if flags := c[flagsAt : flagsAt+2]; got.continued && c[:2] == "00" && flags > "03" {
				continue
			}
			t.Errorf("%q: continued %v, OpenTelemetry says %v", c, got.continued, want.IsValid())
			continue
		}
		if !got.continued {
			continue
		}
		taken++
		if string(got.trace()) != want.TraceID().String() {
			t.Errorf("%q: trace %s, OpenTelemetry has %s", c, got.trace(), want.TraceID())
		}
		if onwards := extract(string(got.text[:])); !onwards.IsValid() || onwards.TraceID() != want.TraceID() ||
			onwards.IsSampled() != want.IsSampled() || onwards.SpanID() == want.SpanID() {
			t.Errorf("%q went on as %s", c, got.text[:])
		}
	}
	if taken < len(cases)/4 {
		t.Errorf("only %d of %d were taken: the test says little", taken, len(cases))
	}
}

// The library takes this one; W3C's version 00 has exactly four fields.
func TestTraceparentOfVersionZeroHasNothingBehindIt(t *testing.T) {
	var got traceID
	got.continueFrom([]byte("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-"))
	if got.continued {
		t.Errorf("went on as %s", got.text[:])
	}
}

func TestANewTraceIsValidAndNotSampled(t *testing.T) {
	var got traceID
	got.continueFrom(nil)
	if sc := extract(string(got.text[:])); !sc.IsValid() || sc.IsSampled() || got.continued {
		t.Errorf("a new trace went on as %s", got.text[:])
	}
}
