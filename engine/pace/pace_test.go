package pace

import "testing"

func TestLongPromptTakesNoMoreOfAStepThanTheAnswers(t *testing.T) {
	p := New(64)
	if got := p.Chunk(0, 128); got != 128 {
		t.Errorf("with nobody to wait, a step reads %d tokens, want all 128", got)
	}
	if got := p.Chunk(16, 112); got != 16 {
		t.Errorf("before a step was timed, it reads %d tokens, want one for each of 16 answers", got)
	}
	for range 100 {
		p.Learn(0.010, 16, 0)
		p.Learn(0.030, 16, 40) // 20 ms for 40 tokens
		p.Learn(0.064, 0, 128)
	}
	if got := p.Chunk(16, 112); got < 15 || got > 17 {
		t.Errorf("a step of 10 ms reads %d tokens of 0.5 ms, want 16", got)
	}
	for range 100 {
		p.Learn(0.060, 16, 10) // far into a long prompt each token costs more
	}
	if got := p.Chunk(16, 112); got != leastChunk {
		t.Errorf("a step of 10 ms reads %d tokens of 5 ms, want the least, %d", got, leastChunk)
	}
	if got := p.Chunk(60, 4); got != 4 {
		t.Errorf("a step with room for 4 tokens reads %d", got)
	}
}
