package engine

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/semantic-pod/semantic/api"
	"github.com/semantic-pod/semantic/config"
	"github.com/semantic-pod/semantic/engine/enginetest"
	"github.com/semantic-pod/semantic/engine/model"
	"github.com/semantic-pod/semantic/engine/sample"
	"github.com/semantic-pod/semantic/engine/text"
)

// ask is a greedy completion of n tokens; prompts are told apart by their letter.
func ask(prompt string, n int) string {
	return fmt.Sprintf(`{"model":"default","prompt":%q,"temperature":0,"max_tokens":%d}`, prompt, n)
}

// promptOf returns the letter with which the prompt of a step's row begins, if the
// row is the first of a prompt.
func promptOf(r model.Row) string {
	if r.Position != 0 {
		return ""
	}
	return string(r.Token - 3)
}

func TestConcurrentAnswersEqualLoneOnes(t *testing.T) {
	for _, kv := range []string{"f16", "q8"} {
		t.Run(kv, func(t *testing.T) { answerTogether(t, kv) })
	}
}

func answerTogether(t *testing.T, kv string) {
	cfg := testConfig(t)
	cfg.KVType = kv
	cfg.MaxBatch, cfg.QueueDepth = 5, 64
	e := startEngine(t, cfg)
	body := func(i int) string {
		return fmt.Sprintf(`{"model":"default","prompt":%q,"temperature":0.9,"seed":%d,"max_tokens":%d}`, strings.Repeat("words ", i), i, 10+i)
	}
	const n = 24
	var alone [n]string
	for i := range n {
		alone[i] = e.post(completionPath, body(i+1)).text(t)
	}
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			r, err := e.do(e.request(t.Context(), http.MethodPost, completionPath, body(i+1)))
			if err != nil || r.text(t) != alone[i] {
				t.Errorf("request %d: %v; alone %q, among others %q", i, err, alone[i], r.text(t))
			}
		})
	}
	wg.Wait()
	if got := e.used(); got != 0 {
		t.Errorf("%d blocks are held after all ended", got)
	}
}

func TestPreemptedAnswersEqualLoneOnes(t *testing.T) {
	cfg := testConfig(t)
	cfg.QueueDepth = 64
	e := newTestEngine(t, cfg)
	var n *native
	open := e.open
	e.open = func() (backend, error) {
		b, err := open()
		if err == nil {
			n = b.(*native)
		}
		return b, err
	}
	e.start()
	e.waitReady()
	body := func(i int) string { return ask(strings.Repeat(string(rune('a'+i)), 20+i), 60) }
	const requests = 12
	var alone [requests]string
	for i := range requests {
		alone[i] = e.post(completionPath, body(i)).text(t)
	}
	// From now on the pool has room for two full requests and a half.
	hostage := n.scheduler.blocks.NewChain()
	if !hostage.Grow((n.scheduler.blocks.Total() - 15) * model.BlockTokens) {
		t.Fatal("the pool is smaller than the test expects")
	}
	var wg sync.WaitGroup
	for i := range requests {
		wg.Go(func() {
			r, err := e.do(e.request(t.Context(), http.MethodPost, completionPath, body(i)))
			if err != nil || r.text(t) != alone[i] {
				t.Errorf("request %d: %v; alone %q, preempted %q", i, err, alone[i], r.text(t))
			}
		})
	}
	wg.Wait()
	if got := len(e.logLines("preempted")); got == 0 {
		t.Error("nothing was preempted: the test tests nothing")
	}
	if got, want := e.used(), len(hostage.Blocks()); got != want {
		t.Errorf("%d blocks are held after all ended, %d by this test", got, want)
	}
}

// blockSizeOf returns the bytes of one KV block of the configuration's model.
func blockSizeOf(t *testing.T, cfg Config) config.Size {
	t.Helper()
	n := &native{}
	if err := n.open(cfg); err != nil {
		t.Fatal(err)
	}
	size, err := blockBytes(n.model)
	if err := errors.Join(err, n.close()); err != nil {
		t.Fatal(err)
	}
	return config.Size(size)
}

func TestRequestThatCouldNeverFitIsRefused(t *testing.T) {
	cfg := testConfig(t)
	cfg.Model = enginetest.Model(t, enginetest.Shape{Context: 4096})
	cfg.KVMemory = 4 * blockSizeOf(t, cfg)
	e := newTestEngine(t, cfg)
	e.start()
	e.waitReady()
	r := e.post(completionPath, ask("hello", 100))
	if got := r.error(t).Error; r.status != 400 || got.Code != "context_length_exceeded" || !strings.Contains(got.Message, "64 tokens (--kv-memory)") {
		t.Errorf("%d %s", r.status, r.body)
	}
	if r := e.post(completionPath, ask("hello", 59)); r.status != 200 {
		t.Errorf("a request that just fits: %d %s", r.status, r.body)
	}
}

func TestClientThatLeavesFreesItsBlocksWithinAStep(t *testing.T) {
	for _, stream := range []string{"true", "false"} {
		e := newTestEngine(t, testConfig(t))
		g := e.hold()
		e.start()
		e.waitReady()
		ctx, leave := context.WithCancel(t.Context())
		left := make(chan struct{})
		go func() {
			defer close(left)
			body := `{"model":"default","prompt":"hello","temperature":0,"max_tokens":200,"stream":` + stream + `}`
			if r, err := e.do(e.request(ctx, http.MethodPost, completionPath, body)); err == nil {
				t.Errorf("the client left and got %v", r)
			}
		}()
		g.step(4) // the prompt, and three tokens
		e.until("the fifth step began", func() bool { return g.begun() == 5 })
		if e.used() == 0 {
			t.Error("a running request holds no blocks")
		}
		leave()
		<-left
		e.until("the engine saw the client leave", func() bool { return len(e.logLines("request")) == 1 })
		g.step(1)
		e.until("its blocks were freed", func() bool { return e.used() == 0 && e.State().Running == 0 })
		if g.begun() != 5 {
			t.Errorf("%d steps were begun, want none after the fifth", g.begun())
		}
		e.until("it was logged", func() bool { return len(e.logLines("request")) == 1 })
		line := e.logLines("request")[0]
		if line["finish"] != "client_gone" || line["completion_tokens"].(float64) < 4 {
			t.Errorf("logged as %v", line)
		}
		if text := e.call(http.MethodGet, api.PathMetrics, "").body; !strings.Contains(text, "semantic_tokens_wasted_total 4\n") && !strings.Contains(text, "semantic_tokens_wasted_total 5\n") {
			t.Errorf("%s", grep(text, "wasted"))
		}
	}
}

func TestClientThatLeavesTheQueueMakesRoomInIt(t *testing.T) {
	cfg := testConfig(t)
	cfg.MaxBatch, cfg.QueueDepth = 1, 1
	e := newTestEngine(t, cfg)
	g := e.hold()
	e.start()
	e.waitReady()
	running := e.async(t.Context(), ask("a", 5))
	e.until("the first runs", func() bool { return g.begun() == 1 })
	ctx, leave := context.WithCancel(t.Context())
	waiting := e.async(ctx, ask("b", 5))
	e.until("the second waits", func() bool { return e.State().Queued == 1 })
	leave()
	<-waiting
	e.until("the engine saw it leave", func() bool { return len(e.logLines("request")) == 1 })
	g.step(1)
	e.until("the queue is empty", func() bool { return e.State().Queued == 0 })
	g.open()
	if r := <-running; r.status != 200 {
		t.Errorf("the first got %d %s", r.status, r.body)
	}
}

// async sends a completion and returns where its reply will come; a request that
// was cancelled gets an empty one.
func (e *testEngine) async(ctx context.Context, body string, headers ...string) <-chan reply {
	out := make(chan reply, 1)
	r := e.request(ctx, http.MethodPost, completionPath, body, headers...)
	go func() {
		answer, err := e.do(r)
		if err != nil && ctx.Err() == nil {
			e.t.Errorf("%v", err)
		}
		out <- answer
	}()
	return out
}

func TestFullQueueShedsWithAHint(t *testing.T) {
	cfg := testConfig(t)
	cfg.MaxBatch, cfg.QueueDepth = 1, 2
	e := newTestEngine(t, cfg)
	g := e.hold()
	e.start()
	e.waitReady()
	answers := []<-chan reply{e.async(t.Context(), ask("a", 5))}
	e.until("the first runs", func() bool { return g.begun() == 1 })
	answers = append(answers, e.async(t.Context(), ask("b", 5)), e.async(t.Context(), ask("c", 5)))
	e.until("two wait", func() bool { return e.State().Queued == 2 })
	r := e.post(completionPath, ask("d", 5))
	if got := r.error(t).Error; r.status != 503 || got.Code != "overloaded" || r.header.Get("Retry-After") != "1" || r.header.Get(api.HeaderFinish) != "shed" {
		t.Errorf("%d %v %s", r.status, r.header, r.body)
	}
	g.open()
	for _, a := range answers {
		if r := <-a; r.status != 200 {
			t.Errorf("one that had its place got %d %s", r.status, r.body)
		}
	}
}

func TestOneTenantsFullQueueDoesNotLockAnotherOut(t *testing.T) {
	cfg := testConfig(t)
	cfg.MaxBatch, cfg.QueueDepth = 1, 4
	e := newTestEngine(t, cfg)
	g := e.hold()
	e.start()
	e.waitReady()
	var big []<-chan reply
	for i := range 5 {
		big = append(big, e.async(t.Context(), ask("a", 1), api.HeaderTenant, "big"))
		e.until("it is in", func() bool { s := e.State(); return s.Running+s.Queued == i+1 })
	}
	small := e.async(t.Context(), ask("b", 1), api.HeaderTenant, "small")
	if r := <-big[4]; r.status != 503 || r.error(t).Error.Code != "overloaded" {
		t.Errorf("the big tenant's newest got %d %s", r.status, r.body)
	}
	g.open()
	for _, a := range append(big[:4], small) {
		if r := <-a; r.status != 200 {
			t.Errorf("%d %s", r.status, r.body)
		}
	}
}

func TestTenantsTakeTurns(t *testing.T) {
	cfg := testConfig(t)
	cfg.MaxBatch, cfg.QueueDepth = 1, 64
	e := newTestEngine(t, cfg)
	g := e.hold()
	e.start()
	e.waitReady()
	var all []<-chan reply
	queue := func(letter, tenant string) {
		all = append(all, e.async(t.Context(), ask(letter, 1), api.HeaderTenant, tenant))
		e.until("it is in", func() bool { s := e.State(); return s.Running+s.Queued == len(all) })
	}
	for range 20 {
		queue("B", "big")
	}
	queue("s", "small")
	g.open()
	for _, a := range all {
		if r := <-a; r.status != 200 {
			t.Errorf("%d %s", r.status, r.body)
		}
	}
	order := ""
	for _, step := range g.steps {
		order += promptOf(step[0])
	}
	// One of the big tenant's ran already when the small one came.
	if at := strings.Index(order, "s"); at > 2 {
		t.Errorf("the small tenant's only request was served after %d of the big one's: %s", at, order)
	}
}

func TestLongPromptLeavesRoomInEveryStep(t *testing.T) {
	cfg := testConfig(t)
	cfg.StepTokens = 16
	e := newTestEngine(t, cfg)
	g := e.hold()
	e.start()
	e.waitReady()
	short := e.async(t.Context(), ask("a", 40))
	g.step(2)
	long := e.async(t.Context(), ask(strings.Repeat("B", 200), 1))
	e.until("both run or wait", func() bool { s := e.State(); return s.Running+s.Queued == 2 })
	late := e.async(t.Context(), ask("cde", 1))
	e.until("all run or wait", func() bool { s := e.State(); return s.Running+s.Queued == 3 })
	g.open()
	for _, a := range []<-chan reply{short, long, late} {
		if r := <-a; r.status != 200 {
			t.Errorf("%d %s", r.status, r.body)
		}
	}
	longBegan, longEnded, lateBegan := -1, -1, -1
	for i, step := range g.steps {
		if len(step) > cfg.StepTokens+2 { // two may be answered while the long one is read
			t.Errorf("step %d has %d rows, --step-tokens is %d", i, len(step), cfg.StepTokens)
		}
		for _, row := range step {
			switch {
			case promptOf(row) == "B":
				longBegan = i
			case promptOf(row) == "c":
				lateBegan = i
			case row.Token == 'B'+3 && row.Position == 199:
				longEnded = i
			}
		}
	}
	if longEnded-longBegan < 200/cfg.StepTokens {
		t.Errorf("the long prompt was read from step %d to %d", longBegan, longEnded)
	}
	for i := longBegan; i <= longEnded && i < 40; i++ {
		if row := g.steps[i][0]; row.Position < 1 || row.Token == 'B'+3 {
			t.Errorf("step %d made no token for the answer that runs: %v", i, row)
		}
	}
	if lateBegan < 0 || lateBegan >= longEnded {
		t.Errorf("a prompt of three tokens waited for the long one: step %d, the long one was read until %d", lateBegan, longEnded)
	}
}

func TestHalfOfTheBudgetIsForTheOldestPromptAndTheRestForTheShortest(t *testing.T) {
	of := func(tokens int) *sequence { return &sequence{tokens: make([]int32, tokens)} }
	for _, c := range []struct {
		budget        int
		prompts, want []int // the oldest first
	}{
		{20, []int{100, 10, 5}, []int{10, 5, 5}},
		{21, []int{100, 80}, []int{11, 10}},
		{20, []int{4, 100, 90}, []int{4, 0, 16}},
		{20, []int{100}, []int{20}},
		{50, []int{10, 10}, []int{10, 10}},
		{1, []int{7, 5}, []int{1, 0}},
	} {
		s := &scheduler{}
		var all []*sequence
		for _, n := range c.prompts {
			all = append(all, of(n))
		}
		s.prefills = slices.Clone(all)
		s.share(c.budget)
		for i, seq := range all {
			if seq.chunk != c.want[i] {
				t.Errorf("budget %d for %v: prompt %d gets %d, want %v", c.budget, c.prompts, i, seq.chunk, c.want)
			}
		}
	}
}

func TestDeadlineBeforeTheFirstTokenIs504(t *testing.T) {
	e := newTestEngine(t, testConfig(t))
	g := e.hold()
	e.start()
	e.waitReady()
	for _, stream := range []string{"false", "true"} {
		r := e.post(completionPath, prompt(`"max_tokens":5,"stream":`+stream), api.HeaderDeadline, "50")
		if got := r.error(t).Error; r.status != 504 || got.Code != "deadline_exceeded" || r.header.Get(api.HeaderFinish) != "deadline" {
			t.Errorf("stream %s: %d %v %s", stream, r.status, r.header, r.body)
		}
	}
	g.open()
	e.until("the blocks are free", func() bool { return e.used() == 0 })
	if r := e.post(completionPath, ask("a", 5), api.HeaderDeadline, "soon"); r.status != 400 || r.error(t).Error.Code != "invalid_header" {
		t.Errorf("a deadline that is no number: %d %s", r.status, r.body)
	}
}

func TestDeadlineInAStreamIsAnErrorEventAndNoDone(t *testing.T) {
	e := newTestEngine(t, testConfig(t))
	g := e.hold()
	e.start()
	e.waitReady()
	answer := e.async(t.Context(), `{"model":"default","prompt":"hello","temperature":0,"max_tokens":200,"stream":true}`, api.HeaderDeadline, "1000")
	g.step(3)
	r := <-answer
	if r.status != 200 || strings.Contains(r.body, "[DONE]") || !strings.Contains(r.body, `data: {"error":{`) || !strings.Contains(r.body, "deadline_exceeded") {
		t.Errorf("%d %s", r.status, r.body)
	}
	if r.trailer.Get(api.HeaderFinish) != "deadline" || r.number(t, api.HeaderCompletionTokens) < 3 {
		t.Errorf("trailers %v", r.trailer)
	}
}

func TestTokenAllowanceClipsTheAnswer(t *testing.T) {
	e := startEngine(t, testConfig(t))
	for allowance, want := range map[string]string{"0": "0", "3": "3", "100": "8"} {
		for _, stream := range []string{"false", "true"} {
			r := e.post(chatPath, hello+`,"stream":`+stream+`}`, api.HeaderAllowance, allowance)
			if r.status != 200 || r.outcome(api.HeaderFinish) != "length" || r.outcome(api.HeaderCompletionTokens) != want || !strings.Contains(r.body, `"finish_reason":"length"`) {
				t.Errorf("allowance %s, stream %s: %d %s of %s tokens: %s", allowance, stream, r.status, r.outcome(api.HeaderFinish), r.outcome(api.HeaderCompletionTokens), r.body)
			}
		}
	}
}

func TestReaderWhoFallsTooFarBehindIsLeft(t *testing.T) {
	e := startEngine(t, testConfig(t))
	n := e.current().(*native)
	start := func(stream bool, limit int) *generation {
		g := newGeneration(t.Context(), stream, time.Now())
		if g.limit != limit {
			t.Errorf("stream %t: the limit is %d, want %d", stream, g.limit, limit)
		}
		if stream {
			g.limit = 10
		}
		seq := &sequence{
			generation: g, tenant: "default", sampler: sample.New(sample.Params{}), stream: text.NewStream(nil),
			tokens: []int32{10, 11}, prompt: 2, most: 100, chain: n.scheduler.blocks.NewChain(),
		}
		if err := n.scheduler.submit(seq); err != nil {
			t.Fatal(err)
		}
		<-g.done
		return g
	}
	if r := start(true, maxUnread).result(0); r.finish != api.FinishClientGone || r.err == nil || r.usage.Completion < 5 || r.usage.Completion > 11 {
		t.Errorf("nobody read the stream, and it ended so: %+v", r)
	}
	if r := start(false, 0).result(0); r.finish != api.FinishLength || r.usage.Completion != 100 {
		t.Errorf("an answer that is read at its end ended so: %+v", r)
	}
	if got := e.used(); got != 0 {
		t.Errorf("%d blocks are held", got)
	}
}

func TestStateTellsHowLongNoStepEnded(t *testing.T) {
	e := newTestEngine(t, testConfig(t))
	g := e.hold()
	e.start()
	e.waitReady()
	if s := e.State(); s.LastStepAgeMS != 0 || s.Queued != 0 || s.Running != 0 || s.PoolUtilization != 0 {
		t.Errorf("idle: %+v", s)
	}
	time.Sleep(300 * time.Millisecond) // idle time is no stall
	answer := e.async(t.Context(), ask("a", 3))
	e.until("the step is held", func() bool { return g.begun() == 1 })
	if s := e.State(); s.LastStepAgeMS > 250 || s.Running != 1 || s.PoolUtilization <= 0 {
		t.Errorf("just begun: %+v", s)
	}
	e.until("the stall shows", func() bool { return e.State().LastStepAgeMS >= 300 })
	g.open()
	<-answer
	e.until("it is idle again", func() bool { return e.State().LastStepAgeMS == 0 })
}
