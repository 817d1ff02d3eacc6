package otlp

import (
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
)

// Provider is our gen_ai.provider.name.
const Provider = "semantic"

// genAI is what OpenTelemetry's semantic conventions for generative AI call what the
// engine measures anyway.
var genAI = map[string]struct {
	name, unit, about string
	token             string // gen_ai.token.type
}{
	"vllm:e2e_request_latency_seconds": {"gen_ai.server.request.duration", "s", "Time from a request's arrival to its last token.", ""},
	"vllm:time_to_first_token_seconds": {"gen_ai.server.time_to_first_token", "s", "Time from a request's arrival to its first token.", ""},
	"vllm:inter_token_latency_seconds": {"gen_ai.server.time_per_output_token", "s", "Time for each token after the first.", ""},
	"vllm:request_prompt_tokens":       {"gen_ai.client.token.usage", "{token}", "Tokens of a request.", "input"},
	"vllm:request_generation_tokens":   {"gen_ai.client.token.usage", "{token}", "Tokens of a request.", "output"},
}

// addGenAI adds a family once more under OpenTelemetry's name, if it has one.
func addGenAI(families []metricdata.Metrics, f metricdata.Metrics) []metricdata.Metrics {
	as, known := genAI[f.Name]
	if !known {
		return families
	}
	from := f.Data.(metricdata.Histogram[float64]) // all in the table are
	to := metricdata.Histogram[float64]{Temporality: from.Temporality}
	for _, p := range from.DataPoints {
		model, _ := p.Attributes.Value("model_name")
		kv := []attribute.KeyValue{
			attribute.String("gen_ai.provider.name", Provider),
			attribute.String("gen_ai.request.model", model.AsString()),
			attribute.String("gen_ai.response.model", model.AsString()),
			attribute.String("gen_ai.operation.name", "generate_content"), // of whichever route
		}
		if as.token != "" {
			kv = append(kv, attribute.String("gen_ai.token.type", as.token))
		}
		p.Attributes = attribute.NewSet(kv...)
		to.DataPoints = append(to.DataPoints, p)
	}
	for i := range families {
		if families[i].Name == as.name {
			both := families[i].Data.(metricdata.Histogram[float64])
			both.DataPoints = append(both.DataPoints, to.DataPoints...)
			families[i].Data = both
			return families
		}
	}
	return append(families, metricdata.Metrics{Name: as.name, Description: as.about, Unit: as.unit, Data: to})
}
