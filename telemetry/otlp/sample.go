package otlp

import (
	"encoding/binary"
	"math"
	"os"
	"strconv"

	"go.opentelemetry.io/otel/trace"
)

// sampler decides which requests are traced, as OpenTelemetry's samplers of the same
// names do; here it costs no garbage.
type sampler struct {
	parent bool   // a request that comes with a trace is traced if that is
	bound  uint64 // of the trace id's lower half, without its last bit
}

// all is the bound under which every trace id is.
const all = math.MaxUint64 >> 1

func (r *reader) sampler() sampler {
	const name, argument = "OTEL_TRACES_SAMPLER", "OTEL_TRACES_SAMPLER_ARG"
	ratio := func() uint64 {
		text := os.Getenv(argument)
		if text == "" {
			return all
		}
		share, err := strconv.ParseFloat(text, 64)
		if err != nil || !(share >= 0 && share <= 1) {
			r.fail(argument, "must be a number from 0 to 1")
			return 0
		}
		if share == 1 {
			return all
		}
		return uint64(share * (1 << 63))
	}
	switch os.Getenv(name) {
	case "", "parentbased_always_on":
		return sampler{parent: true, bound: all}
	case "parentbased_always_off":
		return sampler{parent: true}
	case "parentbased_traceidratio":
		return sampler{parent: true, bound: ratio()}
	case "always_on":
		return sampler{bound: all}
	case "always_off":
		return sampler{}
	case "traceidratio":
		return sampler{bound: ratio()}
	}
	r.fail(name, "is no sampler of ours: write always_on, always_off, traceidratio, or one of these with parentbased_ before it")
	return sampler{}
}

// Samples says whether a request is traced: continued, if it came with a trace, and
// sampled, if that is recorded where it comes from.
func (e *Exporter) Samples(id trace.TraceID, continued, sampled bool) bool {
	if !e.Traces() {
		return false
	}
	if e.sampler.parent && continued {
		return sampled
	}
	return binary.BigEndian.Uint64(id[8:])>>1 < e.sampler.bound || e.sampler.bound == all
}

// Traces says whether any span can be sent at all.
func (e *Exporter) Traces() bool { return e != nil && e.traces != nil }
