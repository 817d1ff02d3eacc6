// Package pace says how much of the prompts a step reads beside the answers that it carries on.
package pace

// Pace is what a loop knows of how long its steps take. By it a step takes in no more of a prompt
// than costs readShare times as much time as the answers that it carries on, so that a long prompt does not
// double the time between two tokens of those who are being answered.
type Pace struct {
	answers []float64 // seconds of a step that carries on so many answers and reads nothing, smoothed; 0 if unknown
	token   float64   // seconds that a token of a prompt adds to a step, smoothed
}

const (
	readShare  = 0.8 // the rest of the double is for steps that take longer than was foreseen
	leastChunk = 4   // tokens of prompts that a step reads at least, so that they come to an end
)

// New returns the pace of a loop that answers so many at once at most.
func New(maxBatch int) Pace { return Pace{answers: make([]float64, maxBatch+1)} }

// Learn takes in how many seconds a step took that carried on so many answers and read so many tokens of
// prompts.
func (p *Pace) Learn(seconds float64, answers, read int) {
	if read == 0 {
		smooth(&p.answers[answers], seconds)
		return
	}
	if answers > 0 {
		if p.answers[answers] == 0 {
			return
		}
		seconds -= p.answers[answers]
	}
	if seconds > 0 {
		smooth(&p.token, seconds/float64(read))
	}
}

// Chunk returns how many tokens of prompts a step may read that carries on so many answers, and has
// room for so many tokens.
func (p *Pace) Chunk(answers, room int) int {
	if answers == 0 {
		return room
	}
	most := answers // until it is known what takes how long
	if p.answers[answers] > 0 && p.token > 0 {
		most = int(min(readShare*p.answers[answers]/p.token, float64(room)))
	}
	return min(max(most, leastChunk), room)
}

// Token is how many seconds a token of a prompt adds to a step; 0 if unknown.
func (p *Pace) Token() float64 { return p.token }

// smooth rounds the product before it is added, so that no CPU's fused operations make a
// simulation of the loop another one.
func smooth(average *float64, value float64) {
	const weight = 0.1
	if *average == 0 {
		*average = value
	}
	*average += float64(weight * (value - *average))
}
