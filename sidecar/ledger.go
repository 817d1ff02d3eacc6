package sidecar

import (
	"crypto/ed25519"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/semantic-pod/semantic/logchain"
	"github.com/semantic-pod/semantic/telemetry"
)

// ledger keeps the manifest of the log folder while the folder is ours, and tells
// its head to the world outside of the volume: a chain alone cannot show that its
// tail was cut.
type ledger struct {
	dir      string
	key      ed25519.PrivateKey // nil: entries are not signed
	owner    *ownership
	announce func(string, ...zap.Field)
	log      *zap.Logger

	mu       sync.Mutex
	manifest *logchain.Manifest // nil until the folder is ours
	term     uint64             // of the ownership that it was opened in
	told     logchain.Head
	flaw     error // the one that was told
}

// ManifestState is what the pod is told of the manifest.
type ManifestState struct {
	logchain.Head
	Intact bool   `json:"intact"`
	Error  string `json:"error,omitempty"` // how somebody else changed it
}

func newLedger(cfg Config, owner *ownership, log *telemetry.Log, m *telemetry.Metrics) (*ledger, error) {
	l := &ledger{dir: cfg.LogDir, owner: owner, announce: log.Announce, log: log.Zap()}
	if cfg.SignKey != "" {
		key, err := logchain.ReadPrivateKey(cfg.SignKey)
		if err != nil {
			return nil, fmt.Errorf("cannot sign the manifest: --log-sign-key=%s: %w", cfg.SignKey, err)
		}
		l.key = key
	}
	m.GaugeFunc("semantic_log_manifest_entries", "", "Entries of the logs' manifest.",
		func() float64 { return float64(l.state().Count) })
	m.GaugeFunc("semantic_log_manifest_head", "", "First 48 bits of the hash of the manifest's last entry; printf %012x shows them as the hash does.",
		func() float64 { return float64(l.state().Prefix()) })
	m.GaugeFunc("semantic_log_manifest_intact", "", "0 when the manifest was changed by somebody else than the sidecar.",
		func() float64 {
			if l.state().Intact {
				return 1
			}
			return 0
		})
	return l, nil
}

// hold makes sure that the folder is ours and the manifest at hand. After somebody
// else had the folder the manifest is read again.
func (l *ledger) hold(now time.Time) (*logchain.Manifest, error) {
	term, err := l.owner.hold()
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	m := l.manifest
	if m != nil && l.term == term {
		l.mu.Unlock()
		return m, nil
	}
	l.manifest = nil
	l.mu.Unlock()
	if m != nil {
		_ = m.Close() // each entry was synced
	}
	if m, err = logchain.Open(filepath.Join(l.dir, logchain.FileName), l.key, now); err != nil {
		return nil, err
	}
	l.mu.Lock()
	l.manifest, l.term = m, term
	l.mu.Unlock()
	return m, nil
}

// current returns the manifest, or nil while there is none at hand.
func (l *ledger) current() *logchain.Manifest {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.manifest
}

// close lets the manifest go when the loops have ended.
func (l *ledger) close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.manifest == nil {
		return nil
	}
	err := l.manifest.Close()
	l.manifest = nil
	return err
}

// stamp returns the stamp for a rotation now. Without a manifest at hand the folder
// alone says what went before: logs must be rotated whatever happens to it.
func (l *ledger) stamp(log, onDisk string, now time.Time) string {
	if m := l.current(); m != nil {
		return m.Stamp(log, onDisk, now)
	}
	return logchain.NextStamp(onDisk, now)
}

// state tells how the manifest stands.
func (l *ledger) state() ManifestState {
	m := l.current()
	if m == nil {
		return ManifestState{Intact: true}
	}
	s := ManifestState{Head: m.Head(), Intact: true}
	if flaw := m.Flaw(); flaw != nil {
		s.Intact, s.Error = false, flaw.Error()
	}
	return s
}

// publish announces a head that is new, and a manifest that is not what it was.
func (l *ledger) publish() {
	m := l.current()
	if m == nil {
		return
	}
	head, flaw := m.Head(), m.Flaw()
	l.mu.Lock()
	newHead, newFlaw := head != l.told, flaw != nil && l.flaw == nil
	l.told, l.flaw = head, flaw
	l.mu.Unlock()
	if newFlaw {
		l.log.Error("the logs' manifest was changed by somebody else; it is continued, and the change stays to be seen", zap.Error(flaw))
	}
	if newHead {
		l.announce("manifest head", zap.String("head", head.String()))
	}
}
