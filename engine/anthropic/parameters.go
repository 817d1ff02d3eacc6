package anthropic

import "github.com/semantic-pod/semantic/engine/dialect"

// rule holds a parameter's value against what this engine does with it, and notes
// a fault if that is not what the client asked for.
type rule func(dialect.Value)

// The tables say what becomes of every parameter that Anthropic's API has. Any
// other name is refused as unknown.
//
//	enforced     obeyed, and checked where it is read
//	only…        checked; what is taken says nothing about the answer
//	unsupported  refused
var countParameters = map[string]rule{
	"model":    enforced,
	"messages": enforced,
	"system":   enforced,

	"thinking":           onlyDisabled,
	"tools":              enforced,
	"tool_choice":        enforced,
	"mcp_servers":        unsupported,
	"context_management": unsupported,
	"cache_control":      onlyEphemeral,
	"output_config":      unsupported,
	"output_format":      unsupported,
	"speed":              unsupported,
}

var messagesParameters = func() map[string]rule {
	all := map[string]rule{
		"max_tokens":     enforced,
		"temperature":    enforced,
		"top_p":          enforced,
		"top_k":          enforced,
		"stop_sequences": enforced,
		"stream":         enforced,

		"metadata":      onlyUser,
		"service_tier":  onlyTier,
		"container":     unsupported,
		"inference_geo": unsupported,
		"diagnostics":   unsupported,

		"user_profile_id": unsupported,
		"workspace_id":    unsupported,
	}
	for name, r := range countParameters {
		all[name] = r
	}
	return all
}()

func enforced(dialect.Value) {}

func unsupported(v dialect.Value) { v.Unsupported(v.Param()) }

// onlyUser takes metadata {"user_id":"…"}.
func onlyUser(v dialect.Value) {
	o := v.Object()
	o.Allow("user_id")
	if id, ok := o.Get("user_id"); ok {
		_ = id.String()
	}
}

// onlyTier takes the tiers that need no contract.
func onlyTier(v dialect.Value) {
	switch v.String() {
	case "auto", "standard_only":
	default:
		v.Fail(dialect.CodeInvalidValue, "%s must be auto or standard_only", v.Param())
	}
}

func onlyDisabled(v dialect.Value) {
	o := v.Object()
	if t, ok := o.Need("type"); ok && t.String() != "disabled" {
		v.Unsupported("thinking other than disabled")
	}
	o.Allow("type")
}

// onlyEphemeral takes the mark by which clients ask for a cache: what prompts have
// in common is shared here without being asked.
func onlyEphemeral(v dialect.Value) {
	o := v.Object()
	o.Allow("type", "ttl")
	if t, ok := o.Need("type"); ok && t.String() != "ephemeral" {
		t.Fail(dialect.CodeInvalidValue, "%s must be ephemeral", t.Param())
	}
	if t, ok := o.Get("ttl"); ok && t.String() != "5m" && t.String() != "1h" {
		t.Fail(dialect.CodeInvalidValue, "%s must be 5m or 1h", t.Param())
	}
}
