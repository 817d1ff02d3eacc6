package main

import (
	"encoding/json"
	"math"
	"os"
	"reflect"
	"slices"
	"testing"
)

// fixed takes 10 ms a step and 1 ms a row more, and nothing for anything else.
var fixed = service{Rows: []int{1, 2}, Step: []float64{0.010, 0.011}}

var small = shape{Blocks: 160, BlockToken: 16, StepTokens: 128, MaxBatch: 64}

var talk = load{Agents: 8, Rate: 1.2, Shared: 32, First: 32, UserLeast: 8, UserMost: 40, Answer: 8, Turns: 8}

func settingOf(pods int, routing string) setting {
	return setting{pods: pods, routing: routing, seconds: 60, load: talk, shape: small, service: &fixed}
}

// one is a conversation's only turn.
func one(at float64, conversation, prompt, answer int) turn {
	return turn{at: at, conversation: conversation, prompts: []int{prompt}, answer: answer}
}

func near(a, b float64) bool { return math.Abs(a-b) < 1e-9 }

func TestALoneRequestTakesItsSteps(t *testing.T) {
	s := settingOf(1, random)
	s.load.Shared = 0
	served, _ := simulate(s, []turn{one(1, 1, 100, 5)})
	// 100 rows are one step of 10 + 99 ms; each further token is one of 10 ms.
	if got := served[0]; !near(got.ttft, 0.109) || !near(got.took, 0.149) || got.cached != 0 {
		t.Errorf("%+v", got)
	}
	served, _ = simulate(s, []turn{one(1, 1, 300, 1)})
	// 128, 128 and 44 rows.
	if got := served[0]; !near(got.ttft, 0.030+0.297) {
		t.Errorf("in three steps: %+v", got)
	}
}

func TestAConversationFindsWhatItSaid(t *testing.T) {
	s := settingOf(1, random)
	s.load.Shared = 0
	again := turn{at: 10, conversation: 1, prompts: []int{100, 140}, answer: 5}
	served, _ := simulate(s, []turn{one(0, 1, 100, 5), again, one(20, 2, 140, 5)})
	// 104 tokens were computed, 6 whole blocks of 16: 44 are left to compute.
	if got := served[1]; got.cached != 96 || !near(got.ttft, 0.010+0.043) {
		t.Errorf("the second turn: %+v", got)
	}
	if got := served[2]; got.cached != 0 {
		t.Errorf("another's: %+v", got)
	}
}

func TestASharedBeginningIsFoundByOthers(t *testing.T) {
	s := settingOf(1, random)
	s.load.Shared = 40 // two whole blocks
	served, _ := simulate(s, []turn{one(0, 1, 100, 5), one(10, 2, 100, 5)})
	if served[0].cached != 0 || served[1].cached != 32 {
		t.Errorf("%+v", served)
	}
}

func TestRequestsShareSteps(t *testing.T) {
	s := settingOf(1, random)
	s.load.Shared = 0
	served, _ := simulate(s, []turn{one(0, 1, 1, 50), one(0, 2, 1, 50)})
	// The first one's first step is alone; 49 are shared, and the second's last is alone.
	if !near(served[0].took, 0.010+49*0.011) || !near(served[1].took, 0.010+49*0.011+0.010) {
		t.Errorf("%+v", served)
	}
}

// TestATurnWaitsForTheOneBefore: a conversation does not answer itself.
func TestATurnWaitsForTheOneBefore(t *testing.T) {
	s := settingOf(2, random)
	second := turn{at: 0.001, conversation: 1, prompts: []int{100, 140}, answer: 5}
	served, _ := simulate(s, []turn{one(0, 1, 100, 5), second})
	if end := served[0].sent + served[0].took; !near(served[1].sent, end) {
		t.Errorf("sent at %g, the turn before ended at %g", served[1].sent, end)
	}
}

func TestAgentsThatHadToLeaveComeBackFromDisk(t *testing.T) {
	s := settingOf(1, random)
	s.load.Shared, s.shape.Blocks = 0, 20
	disk := fixed
	disk.Restore, disk.Persist = 0.002, 0.001
	s.service = &disk
	var turns []turn
	for i := range 5 { // 7 blocks each
		turns = append(turns, one(float64(i), i, 100, 5))
	}
	turns = append(turns, turn{at: 10, conversation: 0, prompts: []int{100, 140}, answer: 1})
	served, _ := simulate(s, turns)
	// Another agent is written before its six blocks can be had, and six are read.
	if got := served[5]; got.cached != 96 || got.restored != 96 || !near(got.ttft, 6*0.001+6*0.002+0.010+0.043) {
		t.Errorf("%+v", got)
	}
}

// TestNothingIsLost plays a load that is too much for pools that are too small.
func TestNothingIsLost(t *testing.T) {
	for _, routing := range routings {
		s := settingOf(3, routing)
		s.load.Rate, s.shape.Blocks, s.shape.MaxBatch = 12, 40, 4
		turns := turnsOf(s.load, s.pods, s.seconds, 5)
		served, use := simulate(s, turns)
		for i, got := range served {
			least := float64(turns[i].answer) * 0.010
			if got.ttft < 0.010-1e-9 || got.took < least-1e-9 || got.sent < turns[i].at || got.cached >= got.prompt || got.restored > got.cached {
				t.Fatalf("%s: turn %d: %+v", routing, i, got)
			}
		}
		if len(served) != len(turns) || use <= 0.2 || use > 1 {
			t.Errorf("%s: %d of %d turns; %g of the pools in use", routing, len(served), len(turns), use)
		}
	}
}

// TestPodsGiveBackTheirBlocks holds that after all turns only agents hold any.
func TestPodsGiveBackTheirBlocks(t *testing.T) {
	c := &clock{}
	p := newSimPod(c, shape{Blocks: 60, BlockToken: 16, StepTokens: 128, MaxBatch: 4}, &fixed, 32)
	turns := turnsOf(talk, 1, 200, 3)
	ended := 0
	for i := range turns {
		turn := &turns[i]
		c.at(turn.at, func() {
			p.submit(&sequence{turn: turn, tokens: turn.prompt(), first: func() {}, end: func(*sequence) { ended++ }})
		})
	}
	c.run()
	if ended != len(turns) || p.pool.Used() != 0 || len(p.queue)+len(p.running)+len(p.preempted)+p.restoring != 0 || p.stepping {
		t.Fatalf("%d of %d ended; %d blocks are used", ended, len(turns), p.pool.Used())
	}
	for p.evictOldest() {
	}
	dirty := 0
	for _, a := range p.agents {
		dirty += len(a.chain.Blocks())
		a.chain.Release()
	}
	if p.pool.Free() != 60 || dirty == 0 {
		t.Errorf("%d of 60 blocks are free, %d were dirty", p.pool.Free(), dirty)
	}
}

func TestTheSameSeedGivesTheSame(t *testing.T) {
	for _, routing := range routings {
		s := settingOf(5, routing)
		a, useA := simulate(s, turnsOf(talk, 5, 60, 9))
		b, useB := simulate(s, turnsOf(talk, 5, 60, 9))
		if !reflect.DeepEqual(a, b) || useA != useB {
			t.Errorf("%s: two runs differ", routing)
		}
		if c, _ := simulate(s, turnsOf(talk, 5, 60, 10)); reflect.DeepEqual(a, c) {
			t.Errorf("%s: another seed changes nothing", routing)
		}
	}
}

// TestAgainstAQueueInTheBooks: requests of one step each, that never share one, are
// M/D/1, whose mean wait is known.
func TestAgainstAQueueInTheBooks(t *testing.T) {
	const use = 0.6
	s := settingOf(1, random)
	s.shape.MaxBatch, s.seconds = 1, 4000
	rate := use / 0.010
	arrivals := turnsOf(load{Agents: 1, Rate: rate, First: 1, Turns: 1, Answer: 1}, 1, s.seconds, 4)
	for i := range arrivals {
		arrivals[i].prompts, arrivals[i].conversation = []int{1}, i
	}
	served, _ := simulate(s, arrivals)
	got := figuresOf(served, 0, 0).Mean
	if want := 10 * (1 + use/(2*(1-use))); math.Abs(got/want-1) > 0.02 {
		t.Errorf("%d requests take %g ms in the mean, want %g", len(served), got, want)
	}
}

func TestRoutings(t *testing.T) {
	turns := turnsOf(talk, 4, 300, 2)
	hit := map[string]float64{}
	for _, routing := range routings {
		s := settingOf(4, routing)
		s.seconds = 300
		served, use := simulate(s, turns)
		hit[routing] = figuresOf(served, use, 0).HitRate
		homes := map[int][]int{}
		for i, got := range served {
			homes[turns[i].conversation] = append(homes[turns[i].conversation], got.pod)
		}
		moved := 0
		for _, pods := range homes {
			slices.Sort(pods)
			if len(slices.Compact(pods)) > 1 {
				moved++
			}
		}
		if share := float64(moved) / float64(len(homes)); routing == affinity && share > 0.2 || routing != affinity && share < 0.5 {
			t.Errorf("%s: %d of %d agents met more than one pod", routing, moved, len(homes))
		}
	}
	if hit[affinity] < hit[random]+5 || hit[affinity] < hit[leastQueue]+5 {
		t.Errorf("hit rates: %v", hit)
	}
	r := newRouter(leastQueue, 3)
	r.inFlight, r.total = []int{2, 1, 3}, 6
	if pod := r.choose(&turn{prompts: []int{1}}); pod != 1 || r.inFlight[1] != 2 {
		t.Errorf("least queue chose %d", pod)
	}
}

// TestThePageIsThatOfTheSimulation makes the small predictions of bench/scale.json anew.
func TestThePageIsThatOfTheSimulation(t *testing.T) {
	text, err := os.ReadFile("../scale.json")
	if err != nil {
		t.Fatal(err)
	}
	var r results
	if err := json.Unmarshal(text, &r); err != nil {
		t.Fatal(err)
	}
	p := plan{seed: 1}
	for _, c := range r.Checks {
		again := c
		again.predict(r.setting(c.Pods, c.Routing, c.Seconds), turnsOf(r.Load, c.Pods, c.Seconds, p.seed))
		if again != c {
			t.Errorf("%d pods, %s: %+v, want %+v; run: go run ./bench/scale -parts again,scale", c.Pods, c.Routing, c, again)
		}
	}
	for _, c := range r.Checks { // what README says of the prediction
		if d := c.Deviation; math.Abs(d.HitRate) > 3 || math.Abs(d.PoolUse) > 3 || math.Abs(d.P50) > 30 {
			t.Errorf("%d pods, %s: the prediction is too far from real pods: %+v", c.Pods, c.Routing, d)
		}
	}
	if len(r.Checks) != 1+2*len(routings) || len(r.Scale) != len(fleets)*len(routings) {
		t.Errorf("%d checks, %d fleets", len(r.Checks), len(r.Scale))
	}
	for _, got := range r.Scale {
		if got.Pods > 10 {
			continue
		}
		s := r.setting(got.Pods, got.Routing, simulatedSeconds)
		s.machine = false
		served, use := simulate(s, turnsOf(r.Load, got.Pods, simulatedSeconds, p.seed))
		if want := figuresOf(served, use, warmSeconds); want != got.figures {
			t.Errorf("%d pods, %s: %+v, want %+v", got.Pods, got.Routing, got.figures, want)
		}
	}
}
