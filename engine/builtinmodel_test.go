package engine

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/semantic-pod/semantic/engine/builtin"
)

// TestTheBuiltInModelPassesItsExam asks the questions that its corpus never held, phrased from
// other templates: nine in ten answers must be right to the letter. Of the rest of the world it is
// asked what was written beside its corpus, and what was written before and never looked at.
func TestTheBuiltInModelPassesItsExam(t *testing.T) {
	const (
		share = 0.9  // of questions on the pod
		world = 0.85 // of the rest of the world, of either kind: what it reaches, and not what it should
	)
	if len(builtin.File) > 4<<20 {
		t.Errorf("the model has %d bytes; 4 MiB are allowed", len(builtin.File))
	}
	text, err := os.ReadFile("../tools/builtin-model/exam.json")
	if err != nil {
		t.Fatal(err)
	}
	var exam []struct{ Kind, Question, Answer string }
	if err := json.Unmarshal(text, &exam); err != nil {
		t.Fatal(err)
	}
	cfg := testConfig(t)
	cfg.Model, cfg.ModelName = builtin.Name, ""
	e := startEngine(t, cfg)
	right, asked := map[string]int{}, map[string]int{}
	for _, q := range exam {
		body, err := json.Marshal(map[string]any{
			"model": builtin.Name, "temperature": 0, "max_tokens": 128,
			"messages": []map[string]string{{"role": "user", "content": q.Question}},
		})
		if err != nil {
			t.Fatal(err)
		}
		got := e.post(chatPath, string(body)).text(t)
		kinds := []string{q.Kind}
		if q.Kind != "world" && q.Kind != "blind" {
			kinds = append(kinds, "pod")
		}
		ok := strings.TrimSpace(got) == q.Answer
		for _, kind := range kinds {
			asked[kind]++
			if ok {
				right[kind]++
			}
		}
		// What it says to the blind ones nobody looks at, so that they stay blind.
		if !ok && testing.Verbose() && q.Kind != "blind" {
			t.Logf("%s %q: %q", q.Kind, q.Question, got)
		}
	}
	for kind, n := range asked {
		t.Logf("%s: %d of %d", kind, right[kind], n)
	}
	for kind, least := range map[string]float64{"pod": share, "world": world, "blind": world} {
		if got := float64(right[kind]) / float64(max(1, asked[kind])); got < least {
			t.Errorf("%s: %.1f %% of %d answers are right, less than %.0f %%", kind, 100*got, asked[kind], 100*least)
		}
	}
}
