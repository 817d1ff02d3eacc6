package proxy

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/semantic-pod/semantic/proxy/keys"
	"github.com/semantic-pod/semantic/proxy/limit"
	"github.com/semantic-pod/semantic/proxy/shared"
	"github.com/semantic-pod/semantic/telemetry"
	"go.uber.org/zap"
)

// rememberedAddresses is of how many addresses failed logins are counted.
const rememberedAddresses = 16384

// door knows who may come in: the keys, their limits, and the addresses that came
// with bad ones.
type door struct {
	keys     *keys.Store
	admin    atomic.Pointer[keys.Digest] // of --admin-key; nil without
	failures *limit.Failures

	table  *limit.Table // of all keys' limits
	issuer *issuer      // of tokens; nil without --jwt-keys

	metrics *telemetry.Metrics
	mu      sync.Mutex
	shares  map[string]*share // by a key's label
}

// share is what one label of semantic_key_limit_used_ratio stands for.
type share struct{ limits atomic.Pointer[[]*limit.Key] }

// openKeys reads the keys for the first time.
func (c *Config) openKeys(table *limit.Table, report func(keys.Report)) (*keys.Store, keys.Report, error) {
	store, first, err := keys.Open(keys.Config{
		File: c.KeyFile, Optional: c.KeyFileOptional, Environ: c.APIKeys,
		Table:  table,
		Report: report,
	})
	if err != nil {
		return nil, first, err
	}
	switch {
	case c.NoAuth && (store.Required() || c.issues()):
		err = fmt.Errorf("--insecure-no-auth contradicts the API keys in --key-file=%s or SEMANTIC_API_KEYS, --jwt-keys and --tls-client-ca-file: keep one of the two", c.KeyFile)
	case !isLoopback(c.Host) && !c.NoAuth && store.Loaded() == 0 && !c.issues():
		err = c.errOpenDoor()
	}
	return store, first, err
}

func (c *Config) newTable() *limit.Table {
	return limit.NewTable(time.Now(), limit.Options{NoDelay: c.LimitNoDelay})
}

// CheckKeys says what is wrong with the keys, and whether others than this machine
// could come in without one. It is apart from Validate since it reads the key file.
func (c *Config) CheckKeys() error {
	_, _, err := c.openKeys(c.newTable(), nil)
	return err
}

// openDoor reads the keys and says in the log how open the door is.
func (p *Proxy) openDoor() error {
	d := &door{failures: limit.NewFailures(time.Now(), rememberedAddresses), metrics: p.metrics, shares: map[string]*share{}}
	d.table = p.cfg.newTable()
	p.noteFiles()
	store, first, err := p.cfg.openKeys(d.table, p.keysRead)
	if err != nil {
		return err
	}
	d.keys, p.door = store, d
	if p.cfg.LimitsStore != "" {
		if p.shared, err = shared.Open(p.cfg.LimitsStore, p.limitsStoreChanged); err != nil {
			return fmt.Errorf("cannot use --limits-store: %w", err)
		}
		p.onStop("limits store", p.shared.Close)
	}
	if p.cfg.JWTKeys != "" {
		d.issuer = newIssuer(p)
		if err := d.issuer.read(); err != nil {
			return err
		}
	}
	if err := errors.Join(p.readAdminKey(), p.readTLS()); err != nil {
		return err
	}
	d.share()
	if first.Warning != "" {
		p.log.Zap().Warn(first.Warning, zap.String("key_file", p.cfg.KeyFile))
	}
	if !isLoopback(p.cfg.Host) && p.cfg.NoAuth {
		p.log.Zap().Warn("ANYONE WHO REACHES THIS ADDRESS CAN USE THE MODEL: --insecure-no-auth asks for no key", zap.String("host", p.cfg.Host))
	}
	return nil
}

// limitsStoreChanged tells that the shared limits came or went.
func (p *Proxy) limitsStoreChanged(up bool, why error) {
	if up {
		p.log.Zap().Info("the keys' limits are shared with the other proxies in --limits-store")
		return
	}
	p.log.Zap().Error("--limits-store is away: until it is back this proxy holds to the keys' limits by itself", zap.Error(why))
}

// keysRead tells of each later reading of the key file.
func (p *Proxy) keysRead(r keys.Report) {
	log := p.log.Zap()
	if r.Err != nil {
		log.Error("the key file is refused; the keys that were read before stay in force", zap.Error(r.Err), zap.Int("keys", r.Keys))
		return
	}
	if r.Warning != "" {
		log.Warn(r.Warning, zap.String("key_file", p.cfg.KeyFile))
	}
	log.Info("the key file was read again", zap.Int("keys", r.Keys))
	p.door.share()
}

// share sorts the keys' limits by label, and declares the series of labels that are
// new. There are a bounded number of them.
func (d *door) share() {
	d.mu.Lock()
	defer d.mu.Unlock()
	byLabel := map[string][]*limit.Key{}
	for _, id := range d.keys.Identities() {
		byLabel[id.Label] = append(byLabel[id.Label], id.Limit)
	}
	for label := range byLabel {
		if d.shares[label] == nil {
			s := &share{}
			d.shares[label] = s
			d.metrics.GaugeFunc("semantic_key_limit_used_ratio", `key="`+label+`"`,
				"How much of the limit that is nearest to its end a key has used, 0 to 1; of the keys that share a label the most.", s.used)
		}
	}
	for label, s := range d.shares {
		limits := byLabel[label]
		s.limits.Store(&limits)
	}
}

func (s *share) used() float64 {
	limits := s.limits.Load()
	if limits == nil {
		return 0
	}
	now, most := time.Now(), 0.0
	for _, k := range *limits {
		most = max(most, k.Used(now))
	}
	return most
}
