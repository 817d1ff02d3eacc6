package cold

import (
	"time"

	"github.com/semantic-pod/semantic/engine/store"
)

// maxRecords bounds what is known of agents that are nowhere on this pod.
const maxRecords = 20_000

// record is what this process knows of an agent. The tier's mu guards it.
type record struct {
	tenant, id, place string

	hot   bool    // its last turn is in memory
	ahead bool    // and not on disk
	local content // of that turn, or of the file that was fetched
	born  time.Time

	generation uint64  // the last one that was seen written, or gone
	isGone     bool    // it was the latter
	sum        string  // of the file that was written
	top        content // of it; nothing if that was never seen
	size       int64
	changed    time.Time

	pending  bool // the store lacks what is on disk
	busy     bool // a writer has it
	again    bool // it changed meanwhile
	due      time.Time
	since    time.Time // when it first was due and not written
	failures int

	rival rival
	bad   string // key of an object that was refused
}

// content tells states of an agent apart, and whether one goes on from another.
type content struct {
	tokens  int
	hash    [32]byte // of them
	lastUse time.Time
}

func contentOf(c *store.Copy) content {
	return content{tokens: len(c.Tokens), hash: store.HashTokens(c.Tokens), lastUse: c.LastUse}
}

// begins says whether tokens begin with what c is of.
func (c content) begins(tokens []int32) bool {
	return c.tokens > 0 && c.tokens <= len(tokens) && store.HashTokens(tokens[:c.tokens]) == c.hash
}

// rival is a lease of another process on a generation that is not written yet. How old it is is
// told by this process's own clock, from when it first saw it.
type rival struct {
	generation uint64
	holder     string
	seen       time.Time
	term       time.Duration
}

// record returns that of an agent. The caller holds mu.
func (t *Tier) record(tenant, id string) *record {
	place := t.opt.Disk.Place(tenant, id)
	r := t.records[place]
	if r == nil {
		if len(t.records) >= maxRecords {
			t.thin()
		}
		r = &record{tenant: tenant, id: id, place: place}
		t.records[place] = r
	}
	return r
}

// thin drops records that can be had again from the store.
func (t *Tier) thin() {
	for place, r := range t.records {
		if !r.pending && !r.busy && !r.hot {
			delete(t.records, place)
		}
		if len(t.records) < maxRecords*9/10 {
			return
		}
	}
}

// Kept notes the tokens of an agent's last turn, which are in memory. They must not change.
func (t *Tier) Kept(tenant, id string, tokens []int32) {
	c := content{tokens: len(tokens), hash: store.HashTokens(tokens), lastUse: time.Now()}
	t.mu.Lock()
	defer t.mu.Unlock()
	r := t.record(tenant, id)
	if !r.hot && r.local.tokens == 0 {
		r.born = c.lastUse
	}
	r.hot, r.ahead, r.local = true, true, c
}

// Left notes that an agent is not in memory any more.
func (t *Tier) Left(tenant, id string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if r := t.records[t.opt.Disk.Place(tenant, id)]; r != nil {
		r.hot, r.ahead = false, false
	}
}

// Wrote notes that an agent's file on disk is new, and whether it is of its last turn.
func (t *Tier) Wrote(tenant, id string, last bool) {
	t.mu.Lock()
	r := t.record(tenant, id)
	r.ahead = r.ahead && !last
	t.enqueue(r)
	t.mu.Unlock()
	t.nudge()
}

// enqueue is called with mu held.
func (t *Tier) enqueue(r *record) {
	now := time.Now()
	r.again = r.busy
	if !r.pending {
		r.pending, r.since, r.failures = true, now, 0
		if t.closed {
			t.tally.Waiting++
		}
	}
	r.due = now
}

// Covers returns how many of a prompt's first tokens this pod has of the agent itself, as far as
// it is known: 0 if its last turn here was of another conversation.
func (t *Tier) Covers(tenant, id string, prompt []int32) int {
	place := t.opt.Disk.Place(tenant, id)
	info, onDisk := t.opt.Disk.Get(tenant, id)
	t.mu.Lock()
	r := t.records[place]
	var c content
	if r != nil && (r.hot || onDisk) {
		c = r.local
	}
	t.mu.Unlock()
	switch {
	case c.begins(prompt):
		return c.tokens
	case c.tokens == 0 && onDisk: // from before this process; what it holds is seen when it is read
		return min(info.Tokens, len(prompt))
	}
	return 0
}

// Agent is an agent that this process knows to be in the store.
type Agent struct {
	Tenant, ID string
	Tokens     int // 0 if that was not seen
	Bytes      int64
	Changed    time.Time
}

// Known lists the agents that this process wrote or came across and that are in the store.
func (t *Tier) Known() []Agent {
	t.mu.Lock()
	defer t.mu.Unlock()
	var list []Agent
	for _, r := range t.records {
		if r.generation > 0 && !r.isGone {
			list = append(list, r.describe())
		}
	}
	return list
}

func (r *record) describe() Agent {
	return Agent{Tenant: r.tenant, ID: r.id, Tokens: r.top.tokens, Bytes: r.size, Changed: r.changed}
}

// saw notes the latest of an agent in the store. The caller holds mu.
func (r *record) saw(o *object) {
	if o == nil {
		r.generation, r.isGone, r.sum, r.top, r.size = 0, false, "", content{}, 0
		return
	}
	if o.sum != r.sum {
		r.top = content{}
	}
	r.generation, r.isGone, r.sum, r.size, r.changed = o.generation, o.kind == gone, o.sum, o.Size, o.Time
}

// Reset forgets what waits, and what this pod is believed to have.
func (t *Tier) Reset() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, r := range t.records {
		r.hot, r.ahead, r.local, r.pending, r.again = false, false, content{}, false, false
	}
}
