package engine

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/semantic-pod/semantic/config"
	"github.com/semantic-pod/semantic/engine/upstream"
	"github.com/semantic-pod/semantic/objectstore"
)

// Config is everything that an engine can be told.
type Config struct {
	Backend  string          `name:"backend" enum:"native,upstream" default:"native" help:"What computes the answers: native (a GGUF model on this machine's CPU) or upstream (servers at --upstream-url)."`
	Upstream upstream.Config `embed:""`

	Model      string   `name:"model" placeholder:"PATH" help:"GGUF file of the model to serve, or semantic-builtin; by default the model of make model, and the built-in one where that is not."`
	ModelName  string   `name:"model-name" placeholder:"NAME" help:"Name under which the model is served; by default the file's name without .gguf."`
	ModelAlias []string `name:"model-alias" placeholder:"NAME" help:"Further names by which clients may ask for the model; \"default\" always works."`

	Threads  int         `name:"threads" default:"0" placeholder:"N" help:"Threads that compute; 0 takes one a core that the process may use."`
	Context  int         `name:"context" default:"0" placeholder:"TOKENS" help:"Most tokens of a prompt and its answer together; 0 takes what the model was made for."`
	KVMemory config.Size `name:"kv-memory" default:"0" placeholder:"SIZE" help:"Memory for the keys and values of tokens, such as 2GiB; 0 takes a quarter of the memory limit, and no more than --max-batch requests of the full context need."`

	KVType string `name:"kv-type" enum:"f16,q8" default:"f16" help:"How the keys and values of tokens are stored: f16, or q8, which takes about half the memory (${enum})."`

	SharePrefixAcrossTenants bool `name:"share-prefix-across-tenants" help:"Let tenants share the keys and values of equal beginnings of prompts. A tenant can then tell from the time of an answer whether another one asked the same."`

	QueueDepth       int `name:"queue-depth" default:"256" placeholder:"N" help:"Requests that may wait; the next one is refused with 503."`
	MaxBatch         int `name:"max-batch" default:"64" placeholder:"N" help:"Requests that run at once."`
	StepTokens       int `name:"step-tokens" default:"128" placeholder:"TOKENS" help:"Most tokens of prompts that one step reads, beside one token for each running request. More is faster for long prompts, and lets a short one wait longer for them."`
	DefaultMaxTokens int `name:"default-max-tokens" default:"1024" placeholder:"TOKENS" help:"Most tokens of an answer whose request sets no bound."`

	CacheDir     string        `name:"cache-dir" placeholder:"DIR" help:"Folder of the agents on disk; by default agents below --data-dir."`
	CacheDisk    config.Size   `name:"cache-disk" default:"10GiB" placeholder:"SIZE" help:"Most that the agents on disk take; those used longest ago are deleted to make room. 0 sets no bound."`
	CacheTTL     time.Duration `name:"cache-ttl" default:"168h" help:"Time after its last use after which an agent is deleted; 0 keeps it for good."`
	CacheKeyFile string        `name:"cache-key-file" placeholder:"FILE" help:"File of 32 bytes, or of 64 hexadecimal digits, by which agents on disk are encrypted; without it they are plain."`

	ColdStore    string        `name:"cold-store" placeholder:"URL" help:"Object store of agents that pods share, so that another one can go on with them: s3://bucket?region=..., file:///shared/folder; gs:// and azblob:// in binaries built with their tags. Empty: agents stay on their pod."`
	ColdAfter    time.Duration `name:"cold-after" default:"30s" help:"Time after an agent's last turn after which it is written to --cold-store."`
	ColdTimeout  time.Duration `name:"cold-timeout" default:"30s" help:"Most time that the write of one agent to --cold-store may take. For a little more than twice as long other pods wait for a pod that ended in the middle of one."`
	ColdPatience time.Duration `name:"cold-patience" default:"3s" help:"Most time that a turn waits for its agent to come from --cold-store; what is not there by then is computed."`
	ColdQuota    config.Size   `name:"cold-quota" default:"0" placeholder:"SIZE" help:"Most that the agents of this model take in --cold-store; those written longest ago are deleted to make room. 0 sets no bound."`

	SwapPatience   time.Duration `name:"swap-patience" default:"30s" help:"Most time that the answers of a model may take to end after an admin swapped or offloaded it."`
	PersistTimeout time.Duration `name:"persist-timeout" default:"10s" help:"Most time that a stopping engine takes to write its agents to disk. It is kept free of --stop-timeout."`

	Socket   string `kong:"-"` // path of the Unix socket
	Restarts *int   `kong:"-"` // how often a supervisor started this process again; nil without one
	Settings string `kong:"-"` // as --print-config prints them, secrets masked: told on the socket
}

// The backends.
const (
	BackendNative   = "native"
	BackendUpstream = "upstream"
)

// Validate says which setting is wrong, or contradicts another.
func (c *Config) Validate() error {
	var errs []error
	check := func(bad bool, format string, args ...any) {
		if bad {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	check(c.Socket == "", "--socket-dir: the engine needs a folder for its socket")
	check(c.Threads < 0, "--threads=%d must not be negative", c.Threads)
	check(c.Context < 0, "--context=%d must not be negative", c.Context)
	check(c.KVMemory < 0, "--kv-memory=%s must not be negative", c.KVMemory)
	check(c.QueueDepth < 1, "--queue-depth=%d must be at least 1", c.QueueDepth)
	check(c.MaxBatch < 1, "--max-batch=%d must be at least 1", c.MaxBatch)
	check(c.StepTokens < 1, "--step-tokens=%d must be at least 1", c.StepTokens)
	check(c.DefaultMaxTokens < 1, "--default-max-tokens=%d must be at least 1", c.DefaultMaxTokens)
	check(c.PersistTimeout <= 0, "--persist-timeout=%s must be above 0", c.PersistTimeout)
	check(c.SwapPatience < 0, "--swap-patience=%s must not be negative", c.SwapPatience)
	check(c.CacheDisk < 0, "--cache-disk=%s must not be negative", c.CacheDisk)
	check(c.CacheTTL < 0, "--cache-ttl=%s must not be negative", c.CacheTTL)
	check(c.CacheKeyFile != "" && c.CacheDir == "" && c.Backend != BackendUpstream, "--cache-key-file=%s: without --cache-dir there is nothing to encrypt", c.CacheKeyFile)
	if c.ColdStore != "" {
		errs = append(errs, objectstore.Check("--cold-store", c.ColdStore))
		check(c.Backend == BackendUpstream, "--cold-store=%s contradicts --backend=upstream, which keeps no agents here", c.ColdStore)
		check(c.CacheDir == "" && c.Backend != BackendUpstream, "--cold-store=%s needs --cache-dir: agents pass over the disk", c.ColdStore)
		check(c.ColdAfter < 0, "--cold-after=%s must not be negative", c.ColdAfter)
		check(c.ColdTimeout <= 0, "--cold-timeout=%s must be above 0", c.ColdTimeout)
		check(c.ColdPatience <= 0, "--cold-patience=%s must be above 0", c.ColdPatience)
		check(c.ColdQuota < 0, "--cold-quota=%s must not be negative", c.ColdQuota)
	}
	if c.Backend == BackendUpstream {
		errs = append(errs, c.Upstream.Check())
		check(c.Model != "", "--model=%s contradicts --backend=upstream: the model is the upstream's, see --upstream-model", c.Model)
		check(c.Threads != 0, "--threads=%d contradicts --backend=upstream, which computes nothing here", c.Threads)
		check(c.Context != 0, "--context=%d contradicts --backend=upstream: the upstream bounds the context", c.Context)
		check(c.KVMemory != 0, "--kv-memory=%s contradicts --backend=upstream, which has no keys and values here", c.KVMemory)
		check(c.CacheKeyFile != "", "--cache-key-file=%s contradicts --backend=upstream, which keeps no agents here", c.CacheKeyFile)
	} else {
		check(len(c.Upstream.URLs) > 0, "--upstream-url=%s needs --backend=upstream", strings.Join(c.Upstream.URLs, ","))
	}
	for _, name := range append([]string{c.ModelName}, c.ModelAlias...) {
		check(name == defaultModel, "--model-name and --model-alias: %q always means the served model; choose another name", name)
	}
	return errors.Join(errs...)
}
