package e2e

import (
	"fmt"
	"sync"
	"testing"
)

// TestThirtyTwoAtOnceAnswerAsEachAlone holds the batch to the lone answers: what
// runs beside a request must not change it.
func TestThirtyTwoAtOnceAnswerAsEachAlone(t *testing.T) {
	t.Parallel()
	p := newPod(t)
	topics := []string{"the sea", "a red fox", "bread", "the moon", "trains", "mathematics", "cats and dogs", "rain"}
	var bodies []body
	for i := range 32 {
		b := chat(fmt.Sprintf("Write one sentence about %s.", topics[i%len(topics)]), 8+i%9)
		if i%4 == 3 {
			b = counting(10 + i)
		}
		if i%2 == 1 {
			b = b.with(body{"temperature": 0.8, "top_p": 0.9, "seed": 1000 + i})
		}
		bodies = append(bodies, b)
	}
	alone := make([]generation, len(bodies))
	for i, b := range bodies {
		alone[i] = p.mustGenerate(t, b)
	}
	together, errs := make([]generation, len(bodies)), make([]error, len(bodies))
	var wg sync.WaitGroup
	for i, b := range bodies {
		wg.Go(func() { together[i], errs[i] = p.generate(b.with(body{"stream": i%3 == 0})) })
	}
	wg.Wait()
	for i, b := range bodies {
		if errs[i] != nil {
			t.Errorf("%s: %v", b, errs[i])
			continue
		}
		if together[i].text != alone[i].text || together[i].finish != alone[i].finish || together[i].usage != alone[i].usage {
			t.Errorf("%s\nalone    %q %s %+v\ntogether %q %s %+v", b,
				alone[i].text, alone[i].finish, alone[i].usage, together[i].text, together[i].finish, together[i].usage)
		}
	}
	if steps := p.scrape(t).sum(`semantic_batch_size_bucket{le="1"}`); steps == p.scrape(t).sum("semantic_batch_size_count") {
		t.Error("no step computed for more than one request: they did not run together")
	}
}
