package engine

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/semantic-pod/semantic/engine/builtin"
)

// TestTheBuiltInModelPassesItsExam asks the questions that its corpus never held, phrased from
// other templates, and the rest of the world: nine in ten answers must be right to the letter.
func TestTheBuiltInModelPassesItsExam(t *testing.T) {
	const share = 0.9
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
	all := 0
	for _, q := range exam {
		body, err := json.Marshal(map[string]any{
			"model": builtin.Name, "temperature": 0, "max_tokens": 128,
			"messages": []map[string]string{{"role": "user", "content": q.Question}},
		})
		if err != nil {
			t.Fatal(err)
		}
		got := e.post(chatPath, string(body)).text(t)
		asked[q.Kind]++
		if strings.TrimSpace(got) == q.Answer {
			right[q.Kind]++
			all++
		} else if testing.Verbose() {
			t.Logf("%s %q: %q", q.Kind, q.Question, got)
		}
	}
	for kind, n := range asked {
		t.Logf("%s: %d of %d", kind, right[kind], n)
	}
	if got := float64(all) / float64(len(exam)); got < share {
		t.Errorf("%.1f %% of %d answers are right, less than %.0f %%: %s", 100*got, len(exam), 100*share, fmt.Sprint(right))
	}
}
