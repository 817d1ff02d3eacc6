package engine

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/semantic-pod/semantic/api"
	"github.com/semantic-pod/semantic/engine/chat"
	"github.com/semantic-pod/semantic/engine/cold"
	"github.com/semantic-pod/semantic/engine/dialect"
	"github.com/semantic-pod/semantic/engine/gguf"
	"github.com/semantic-pod/semantic/engine/kernel"
	"github.com/semantic-pod/semantic/engine/model"
	"github.com/semantic-pod/semantic/engine/pool"
	"github.com/semantic-pod/semantic/engine/sample"
	"github.com/semantic-pod/semantic/engine/text"
	"github.com/semantic-pod/semantic/engine/tokenizer"
)

// native is the backend that computes here: a GGUF model on this machine's CPU.
type native struct {
	model     *model.Model
	kv        *model.Pool
	tokenizer *tokenizer.Tokenizer
	template  *chat.Template // nil if the file has none
	formats   *grammars
	scheduler *scheduler

	words       int // tokens that are in the vocabulary and in the weights
	context     int // tokens of a prompt and its answer
	defaultMost int // tokens of an answer whose request sets no bound
	kvBytes     int
	described   card
	lineage     lineage
	disk        *warm      // nil without --cache-dir
	cold        *cold.Tier // nil without --cold-store
}

// newNative loads the model of the configuration and starts its scheduler.
func newNative(cfg Config, m *metrics, log *zap.Logger) (*native, error) {
	n, err := prepareNative(cfg, m, log)
	if err != nil {
		return nil, err
	}
	if err := n.openDisk(cfg, m); err != nil {
		return nil, errors.Join(err, n.close())
	}
	n.scheduler.start()
	return n, nil
}

// prepareNative loads a model whose requests wait until begin is called.
func prepareNative(cfg Config, m *metrics, log *zap.Logger) (*native, error) {
	n := &native{defaultMost: cfg.DefaultMaxTokens}
	if err := n.open(cfg); err != nil {
		return nil, errors.Join(err, n.close())
	}
	if err := n.schedule(cfg, m, log); err != nil {
		return nil, errors.Join(err, n.close())
	}
	return n, nil
}

// begin starts the scheduler of a model that was prepared, with its agents on disk if
// those can be had.
func (n *native) begin(cfg Config, m *metrics) error {
	err := n.openDisk(cfg, m)
	n.scheduler.start()
	return err
}

// openDisk finds the agents on disk, if there is to be a disk. Whoever asks for them
// asks the scheduler first, which starts after this.
func (n *native) openDisk(cfg Config, m *metrics) (err error) {
	if cfg.CacheDir == "" {
		return nil
	}
	if n.disk, err = openWarm(cfg, n, m, n.scheduler.log); err != nil {
		n.disk = nil
	}
	n.scheduler.disk = n.disk
	if n.disk != nil {
		n.openCold(cfg, m)
	}
	return err
}

// open reads all that the model's file holds.
func (n *native) open(cfg Config) error {
	file, size, made, err := openModelFile(cfg.Model)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }() // all that is needed of it is copied
	if err := n.read(file, size); err != nil {
		return err
	}
	kv, err := kernel.ParseKVType(cmp.Or(cfg.KVType, kernel.KVF16.String()))
	if err != nil {
		return fmt.Errorf("--kv-type=%s: %w", cfg.KVType, err)
	}
	if n.model, err = model.Load(file, model.Options{Threads: cfg.Threads, KV: kv}); err != nil {
		return err
	}
	n.words = min(n.tokenizer.Vocab(), n.model.Config().Vocab)
	n.formats = &grammars{tokenizer: n.tokenizer, tokens: n.words}
	n.lineage.kvType = kv.String()
	n.lineage.shared = cfg.SharePrefixAcrossTenants
	n.described = card{name: servedName(cfg), created: made, fingerprint: "fp_" + hex.EncodeToString(n.lineage.fingerprint[:6])}
	n.context = n.model.Config().Context
	if cfg.Context > n.context {
		return fmt.Errorf("--context=%d is more than the %d tokens that the model was made for", cfg.Context, n.context)
	}
	if cfg.Context > 0 {
		n.context = cfg.Context
	}
	return nil
}

// read reads all of a file but its weights. Its two halves take about as long, and either keeps one
// CPU busy, as the weights then do with all of them.
func (n *native) read(file *gguf.File, size int64) (err error) {
	var unmarked error
	var marking sync.WaitGroup
	marking.Go(func() { n.lineage.fingerprint, unmarked = fingerprint(file, size) })
	defer func() {
		marking.Wait()
		err = cmp.Or(err, unmarked)
	}()
	if n.tokenizer, err = tokenizer.New(file); err != nil {
		return err
	}
	if n.template, err = chat.New(file, n.tokenizer); errors.Is(err, chat.ErrNoTemplate) {
		return nil
	}
	return err
}

// schedule allocates the KV memory and makes the scheduler over it.
func (n *native) schedule(cfg Config, m *metrics, log *zap.Logger) error {
	blockBytes, err := blockBytes(n.model)
	if err != nil {
		return err
	}
	perRequest := (n.context + model.BlockTokens - 1) / model.BlockTokens
	blocks, err := kvBlocks(cfg.KVMemory, blockBytes, cfg.MaxBatch*perRequest)
	if err != nil {
		return err
	}
	n.kvBytes = blocks * blockBytes
	if n.kv, err = n.model.NewPool(blocks); err != nil {
		return fmt.Errorf("cannot allocate %d bytes for keys and values; lower --kv-memory: %w", n.kvBytes, err)
	}
	if blocks < perRequest {
		log.Warn("the KV pool holds less than one full context; longer requests are refused; raise --kv-memory",
			zap.Int("pool_tokens", blocks*model.BlockTokens), zap.Int("context", n.context))
	}
	n.described.weightBytes, n.described.kvBytes = n.model.WeightBytes(), n.kvBytes
	n.described.kvBlocks, n.described.blockTokens = blocks, model.BlockTokens
	n.scheduler = &scheduler{
		model: n.model, kv: n.kv, blocks: pool.New(blocks, model.BlockTokens),
		words: n.tokenizer, vocabulary: n.model.Config().Vocab,
		maxBatch: cfg.MaxBatch, stepTokens: cfg.StepTokens, queueDepth: cfg.QueueDepth,
		cacheTTL: cfg.CacheTTL,
		metrics:  m, log: log,
	}
	n.scheduler.prepare()
	return nil
}

// blockBytes returns what one block takes, which only a pool can say.
func blockBytes(m *model.Model) (int, error) {
	p, err := m.NewPool(1)
	if err != nil {
		return 0, err
	}
	return p.BlockBytes(), p.Close()
}

// describe tells the log what was loaded.
func (n *native) describe() []zap.Field {
	c := n.model.Config()
	return []zap.Field{
		zap.String("architecture", c.Architecture), zap.Int("context", n.context),
		zap.Int("threads", n.model.Threads()), zap.Int("weight_bytes", n.model.WeightBytes()),
		zap.String("kv_type", n.lineage.kvType), zap.Int("kv_bytes", n.kvBytes), zap.Int("kv_blocks", n.scheduler.blocks.Total()),
	}
}

func (n *native) card() card { return n.described }

func (n *native) load() load { return n.scheduler.load() }

// start admits a request: its prompt becomes tokens, which wait for their turn,
// once for each of its choices.
func (n *native) start(ctx context.Context, a admission) (choices, *api.Error) {
	tokens, param, err := n.prompt(a.Request)
	if err != nil {
		return nil, err
	}
	if len(tokens) == 0 {
		return nil, &api.Error{Status: http.StatusBadRequest, Code: dialect.CodeInvalidValue, Param: param, Message: param + " gives the model no token to go on from"}
	}
	if err := n.check(a); err != nil {
		return nil, err
	}
	most, err := n.length(a, len(tokens), param)
	if err != nil {
		return nil, err
	}
	fetched := n.recall(ctx, a, tokens)
	all := make(choices, max(1, a.N))
	for i := range all {
		all[i] = newGeneration(ctx, a.Stream, a.arrival)
		all[i].ready = all[0].ready
		if most == 0 { // the tenant's key may spend no token more
			all[i].push(dialect.Part{}, dialect.Usage{Prompt: len(tokens)}, times{arrival: a.arrival})
			all[i].finish(api.FinishLength, nil)
			continue
		}
		seq := n.sequence(a, i, all[i], tokens, most)
		seq.cold = fetched && i == 0
		if err := n.shape(seq, a.Request); err != nil {
			return nil, err
		}
		if err := n.scheduler.submit(seq); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// sequence returns one choice of a request for the scheduler.
func (n *native) sequence(a admission, choice int, g *generation, prompt []int32, most int) *sequence {
	return &sequence{
		generation: g, tenant: a.tenant, agent: agentOf(a, choice), times: times{arrival: a.arrival}, trace: a.trace,
		sampler: sample.New(sample.Params{Temperature: a.Temperature, TopP: a.TopP, MinP: a.MinP, TopK: a.TopK, Seed: seedOf(a.Seed, choice)}),
		stream:  text.NewStream(a.Stop),
		tokens:  append(make([]int32, 0, len(prompt)+min(most, 256)), prompt...),
		prompt:  len(prompt), most: most,
		chain: n.scheduler.blocks.NewChain(), root: n.lineage.root(a.tenant),
	}
}

// shape lets a sequence keep to the form that its request asks for.
func (n *native) shape(seq *sequence, r *dialect.Request) *api.Error {
	format, err := n.formats.matcher(r.Format)
	if err != nil {
		return err
	}
	if len(r.Tools) > 0 {
		if seq.calls, err = n.formats.caller(r, n.template.CallForm()); err != nil {
			return err
		}
		seq.stream = seq.calls.stream()
		if seq.calls.must {
			format = seq.calls.matcher()
		}
	}
	seq.picker = newPicker(r, format, n.tokenizer)
	return nil
}

// agentOf is the agent that keeps a choice: only the first one is a turn.
func agentOf(a admission, choice int) string {
	if choice > 0 {
		return ""
	}
	return a.agent
}

// check refuses what this model or configuration cannot do.
func (n *native) check(a admission) *api.Error {
	if a.N > n.scheduler.queueDepth {
		return &api.Error{
			Status: http.StatusBadRequest, Code: dialect.CodeInvalidValue, Param: "n",
			Message: fmt.Sprintf("n is %d, but --queue-depth=%d lets no more than that wait at once", a.N, n.scheduler.queueDepth),
		}
	}
	for token := range a.LogitBias {
		if int(token) >= n.words {
			return &api.Error{
				Status: http.StatusBadRequest, Code: dialect.CodeInvalidValue, Param: fmt.Sprintf("logit_bias.%d", token),
				Message: fmt.Sprintf("logit_bias.%d is no token: the model's %d tokens are numbered from 0", token, n.words),
			}
		}
	}
	return nil
}

func (n *native) count(_ context.Context, r *dialect.Request) (int, *api.Error) {
	tokens, _, err := n.prompt(r)
	return len(tokens), err
}

func (n *native) drain(ctx context.Context) error { return n.scheduler.stop(ctx) }

// persist writes the agents that the disk lacks, and says how many.
func (n *native) persist(ctx context.Context) error {
	if n.disk == nil {
		return nil
	}
	began := time.Now()
	p, err := n.scheduler.persist(ctx)
	log := n.scheduler.log.Info
	if err != nil || p.failed+p.left > 0 {
		log = n.scheduler.log.Warn
	}
	log("agents persisted", zap.Int("dirty", p.dirty), zap.Int("persisted", p.written), zap.Int("failed", p.failed), zap.Int("left", p.left),
		zap.Float64("duration_ms", milliseconds(time.Since(began))), zap.Error(err))
	if n.cold != nil {
		n.tellCold(p)
	}
	return err
}

// close gives back the memory of the weights and of the keys and values.
func (n *native) close() error {
	var errs []error
	if n.kv != nil {
		errs = append(errs, n.kv.Close())
	}
	if n.model != nil {
		errs = append(errs, n.model.Close())
	}
	return errors.Join(errs...)
}
