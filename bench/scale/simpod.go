package main

import (
	"container/list"
	"slices"

	"github.com/semantic-pod/semantic/engine/pace"
	"github.com/semantic-pod/semantic/engine/pool"
)

// shape is how a pod is set up.
type shape struct {
	Blocks     int `json:"kv_blocks"`
	BlockToken int `json:"tokens_of_a_block"`
	StepTokens int `json:"step_tokens"`
	MaxBatch   int `json:"max_batch"`
}

// sequence is a request in a simulated pod.
type sequence struct {
	*turn
	tokens, computed, chunk, sealed int
	cached, restored                int // tokens
	admitted                        bool
	order                           int
	chain                           pool.Chain
	first                           func()            // its first token was made
	end                             func(s *sequence) // it is over
}

func (s *sequence) pending() int { return s.tokens - s.computed }

// agent is what a pod remembers of one.
type agent struct {
	id             int
	chain          pool.Chain
	version        int
	dirty, writing bool
	place          *list.Element
}

// simPod does what the engine's scheduler does (engine/scheduler.go, step.go, agents.go,
// warm.go), with the engine's own pool of blocks, step by step; only that a step takes
// the time that was measured.
type simPod struct {
	*clock
	shape   shape
	service *service
	others  func() int // pods of the same machine that compute

	pool      *pool.Pool
	queue     []*sequence
	running   []*sequence // oldest first
	preempted []*sequence
	restoring int
	agents    map[int]*agent
	recency   list.List   // the front was used last
	disk      map[int]int // blocks of each agent
	mail      []func()
	pace      pace.Pace
	shared    int // tokens that all agents begin with
	stepping  bool
	admitted  int

	loads, writes   []func() // that wait for a loader, and for the writer
	loading, writer int      // at work

	until          float64 // the pool's use is counted up to then
	usedFor, since float64 // blocks × seconds; when it was counted last
	steps          int
}

const (
	loaders    = 2
	writeDepth = 16
	behind     = 8
)

func newSimPod(c *clock, sh shape, s *service, shared int) *simPod {
	return &simPod{
		clock: c, shape: sh, service: s, shared: shared, pool: pool.New(sh.Blocks, sh.BlockToken),
		agents: map[int]*agent{}, disk: map[int]int{}, pace: pace.New(sh.MaxBatch),
		others: func() int { return 0 },
	}
}

func (p *simPod) submit(s *sequence) {
	p.queue = append(p.queue, s)
	p.awaken()
}

func (p *simPod) post(f func()) {
	p.mail = append(p.mail, f)
	p.awaken()
}

func (p *simPod) awaken() {
	if !p.stepping {
		p.loop()
	}
}

// loop is what happens between two steps.
func (p *simPod) loop() {
	p.count()
	p.stepping = true // nothing that happens here begins another one
	for len(p.mail) > 0 {
		f := p.mail[0]
		p.mail = p.mail[1:]
		f()
	}
	p.admit()
	if len(p.running) == 0 {
		p.stepping = false
		return
	}
	p.grow()
	b := p.plan()
	took := p.service.step(b) * p.service.slower(p.others())
	p.after(took, func() { p.stepped(took, b) })
}

// count adds up how much of the pool is in use.
func (p *simPod) count() {
	if now := min(p.now, p.until); now > p.since {
		p.usedFor += float64(p.pool.Used()) * (now - p.since)
		p.since = now
	}
}

func (p *simPod) admit() {
	seats := func() bool { return len(p.running)+p.restoring < p.shape.MaxBatch }
	for seats() && len(p.preempted) > 0 {
		if !p.seat(p.preempted[0]) {
			return
		}
		p.preempted = p.preempted[1:]
	}
	for seats() && len(p.preempted) == 0 && len(p.queue) > 0 {
		s := p.queue[0]
		s.order = p.admitted
		if !p.seat(s) {
			return
		}
		p.admitted++
		p.queue = p.queue[1:]
	}
}

func (p *simPod) seat(s *sequence) bool {
	if s.chain.Blocks() == nil {
		s.chain = p.pool.NewChain()
	}
	s.sealed = s.chain.Adopt(p.keys(s, (s.tokens-1)/p.shape.BlockToken))
	s.computed = s.sealed * p.shape.BlockToken
	var seated bool
	if others := len(p.running) + p.restoring; others > 0 {
		seated = p.room(p.pool.Blocks(s.tokens+1)-s.sealed+others) && s.chain.Grow(s.tokens)
	} else {
		seated = p.grown(s)
	}
	switch {
	case !seated:
		p.letGo(s)
	case !p.fetch(s):
		p.join(s)
	}
	return seated
}

// keys of the first blocks: those of the shared beginning are all agents'.
func (p *simPod) keys(s *sequence, blocks int) []pool.Key {
	keys := make([]pool.Key, blocks)
	for i := range keys {
		keys[i] = p.key(s, i)
	}
	return keys
}

func (p *simPod) key(s *sequence, block int) (k pool.Key) {
	whose := uint64(s.conversation) + 1
	if (block+1)*p.shape.BlockToken <= p.shared {
		whose = 0
	}
	for i := range 8 {
		k[i], k[8+i] = byte(whose>>(8*i)), byte(block>>(8*i))
	}
	return k
}

func (p *simPod) grown(s *sequence) bool {
	missing := p.pool.Blocks(s.tokens) - len(s.chain.Blocks())
	return missing <= 0 || p.room(missing) && s.chain.Grow(s.tokens)
}

func (p *simPod) join(s *sequence) {
	if !s.admitted {
		s.admitted, s.cached = true, s.computed
	}
	at, _ := slices.BinarySearchFunc(p.running, s.order, func(r *sequence, order int) int { return r.order - order })
	p.running = slices.Insert(p.running, at, s)
}

func (p *simPod) letGo(s *sequence) {
	s.chain.Release()
	s.computed, s.sealed = 0, 0
}

// grow makes room for the next token of each, or sends the youngest away.
func (p *simPod) grow() {
	for i := 0; i < len(p.running); i++ {
		for s := p.running[i]; !p.grown(s); {
			last := len(p.running) - 1
			youngest := p.running[last]
			p.running = p.running[:last]
			p.letGo(youngest)
			p.preempted = slices.Insert(p.preempted, 0, youngest)
			if youngest == s {
				break
			}
		}
	}
}

// plan shares out the step's rows.
func (p *simPod) plan() (b batch) {
	var prefills []*sequence
	for _, s := range p.running {
		s.chunk = 0
		if s.pending() == 1 {
			s.chunk = 1
			b.decoding++
			b.before += s.computed
		} else {
			prefills = append(prefills, s)
		}
	}
	budget := p.pace.Chunk(b.decoding, p.shape.StepTokens)
	give := func(s *sequence, most int) {
		n := min(s.pending()-s.chunk, most)
		s.chunk += n
		budget -= n
	}
	if len(prefills) > 0 {
		give(prefills[0], (budget+1)/2)
		slices.SortStableFunc(prefills, func(a, b *sequence) int { return a.pending() - a.chunk - b.pending() + b.chunk })
	}
	for _, s := range prefills {
		give(s, budget)
	}
	for _, s := range prefills {
		b.reading += s.chunk*s.computed + s.chunk*(s.chunk-1)/2
	}
	for _, s := range p.running {
		b.rows += s.chunk
		if s.chunk > 0 && s.chunk == s.pending() {
			b.sampled++
		}
	}
	return b
}

// stepped is the end of a step.
func (p *simPod) stepped(took float64, b batch) {
	p.count()
	p.steps++
	p.pace.Learn(took, b.decoding, b.rows-b.decoding)
	var over []*sequence
	for _, s := range p.running {
		s.computed += s.chunk
		p.seal(s)
		if s.chunk == 0 || s.pending() > 0 {
			continue
		}
		if s.tokens++; s.tokens == s.prompt()+1 {
			s.first()
		}
		if s.tokens-s.prompt() >= s.answer {
			over = append(over, s)
		}
	}
	for _, s := range over {
		p.keep(s)
		p.letGo(s)
		p.running = slices.DeleteFunc(p.running, func(r *sequence) bool { return r == s })
		s.end(s)
	}
	p.writeAhead()
	p.stepping = false
	p.loop()
}

func (p *simPod) seal(s *sequence) {
	for ; s.sealed < s.computed/p.shape.BlockToken; s.sealed++ {
		s.chain.Seal(s.sealed, p.key(s, s.sealed))
	}
}
