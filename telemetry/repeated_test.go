package telemetry

import (
	"testing"

	"go.uber.org/zap"
)

func TestRepeatedErrorsAreLeftOutAndCounted(t *testing.T) {
	l, path := openTest(t, LogConfig{})
	m := NewMetrics("proxy")
	l.Register(m)
	const same, requests = 5000, 300
	named := l.Zap().With(zap.Int("n", 1))
	for range same {
		named.Error("cannot do it")
	}
	for range requests {
		l.Zap().Info("request")
	}
	l.Zap().Error("something else")
	syncLog(t, l)
	written := map[string]int{}
	lines := readLines(t, path)
	for i, line := range lines {
		written[line.Msg]++
		if int(line.Seq) != i+1 {
			t.Fatalf("line %d has seq %d: what is left out looks like a loss", i, line.Seq)
		}
	}
	// The second may have changed once or twice meanwhile.
	if n := written["cannot do it"]; n < repeatedFirst || n > 3*(repeatedFirst+same/repeatedEach) {
		t.Errorf("of %d equal errors %d were written", same, n)
	}
	if written["request"] != requests || written["something else"] != 1 {
		t.Errorf("written: %v", written)
	}
	if left := metricValue(t, m, `semantic_log_sampled_total{process="`+l.process+`"}`); int(left) != same-written["cannot do it"] {
		t.Errorf("%v lines are counted as left out, %d are", left, same-written["cannot do it"])
	}
}
