package proxy

import "testing"

func TestAgentsPathsHaveTemplatesAndNothingElseDoes(t *testing.T) {
	for path, want := range map[string]string{
		"/v1/agents":                  "/v1/agents",
		"/v1/agents/a":                "/v1/agents/{id}",
		"/v1/agents/a%2Fb":            "/v1/agents/{id}",
		"/v1/agents/a/generate":       "/v1/agents/{id}/generate",
		"/v1/agents/generate":         "/v1/agents/{id}",
		"/v1/agents/{id}":             "",
		"/v1/agents/":                 "",
		"/v1/agents//generate":        "",
		"/v1/agents/a/b":              "",
		"/v1/agents/a/b/generate":     "",
		"/v1/agents/a/generate/x":     "",
		"/v1/agents/a b":              "",
		"/v1/agents/a\r\nX-Forged: 1": "",
		"/v1/agentsx":                 "",
	} {
		got := ""
		if r := routeOf([]byte(path)); r != nil {
			got = r.template
		}
		if got != want {
			t.Errorf("%q is routed to %q, want %q", path, got, want)
		}
	}
}

func TestOnlyTheConflictOfTheEnginesOwnHeadersPasses(t *testing.T) {
	for name, want := range map[string]bool{
		"Semantic-Agent-Conflict": true, "Semantic-Finish": false, "semantic-anything": false, "Location": true, "Trailer": false,
	} {
		if got := passes([]byte(name)); got != want {
			t.Errorf("%s passes: %t, want %t", name, got, want)
		}
	}
}
