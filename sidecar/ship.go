package sidecar

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	"gocloud.dev/blob"
	"gocloud.dev/gcerrors"

	"github.com/semantic-pod/semantic/logchain"
	"github.com/semantic-pod/semantic/telemetry"
)

// shipper copies archived logs to object storage, reads each copy back, and lists it in
// the manifest, from when on retention may remove the file. A file that was not
// finished when a sidecar died is looked for in the store before it is sent again.
type shipper struct {
	cfg      Config
	host     string // under whose name the files lie
	ledger   *ledger
	duty     *duty
	log      *zap.Logger
	bucket   *blob.Bucket  // nil until it could be opened
	told     logchain.Head // of the manifest whose copy is in the store
	toldTime time.Time

	stillAfter time.Duration
	still      *time.Timer // ends the present call when nothing moves

	oldest       atomic.Int64 // when the oldest file that waits was listed, in ns; 0: none waits
	files, bytes *telemetry.Counter
	waiting      *telemetry.Gauge
}

const (
	shipTimeout   = 10 * time.Minute // of one file
	stillTimeout  = 90 * time.Second // of one in which nothing moves; below stuckAfter
	manifestPause = time.Minute      // between copies of the manifest when nothing is shipped
	partBytes     = 5 << 20          // of what a driver sends at once; one at a time, to stay small
)

// newShipper returns nil if nothing is shipped.
func newShipper(cfg Config, ledger *ledger, log *zap.Logger, m *telemetry.Metrics) *shipper {
	s := &shipper{
		cfg: cfg, ledger: ledger, log: log, stillAfter: stillTimeout,
		files:   m.Counter("semantic_log_files_shipped_total", "", "Archived logs whose copy in the object store was read back and compared."),
		bytes:   m.Counter("semantic_log_bytes_shipped_total", "", "Bytes of those copies."),
		waiting: m.Gauge("semantic_log_files_unshipped", "", "Archived logs that are not in the object store yet."),
	}
	m.GaugeFunc("semantic_log_ship_lag_seconds", `to="object_store"`, lagHelp, s.lag)
	if cfg.ShipTo == "" {
		return nil
	}
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	s.host = host
	s.duty = newDuty("log_ship", patience(cfg.CheckInterval), log, m)
	return s
}

func (s *shipper) lag() float64 {
	if s.cfg.ShipTo == "" {
		return math.NaN()
	}
	return age(s.oldest.Load())
}

// loop ships until ctx ends.
func (s *shipper) loop(ctx context.Context) {
	defer func() {
		if s.bucket != nil {
			_ = s.bucket.Close() // nothing is written at that
		}
	}()
	for {
		err := s.pass(ctx)
		if ctx.Err() != nil {
			return
		}
		s.duty.done(err)
		if !s.duty.rest(ctx, max(s.cfg.CheckInterval, time.Second)) {
			return
		}
	}
}

// pass ships all that is archived, the oldest first.
func (s *shipper) pass(ctx context.Context) error {
	m := s.ledger.current()
	if m == nil {
		return nil // the folder is not ours yet, which is another duty's failure
	}
	list := m.Unshipped()
	s.tellWaiting(list)
	if err := s.open(ctx); err != nil {
		return fmt.Errorf("cannot open --ship-to=%s: %w", s.cfg.ShipTo, err)
	}
	for i, e := range list {
		if err := s.watched(ctx, func(ctx context.Context) error { return s.ship(ctx, m, e) }); err != nil {
			return fmt.Errorf("cannot ship %s to --ship-to=%s: %w", e.Name, s.cfg.ShipTo, err)
		}
		s.tellWaiting(list[i+1:])
	}
	return s.shipManifest(ctx, m, len(list) > 0)
}

// open opens the store unless it is open. Its context is the loop's: a driver may keep it.
func (s *shipper) open(ctx context.Context) (err error) {
	if s.bucket == nil {
		s.bucket, err = blob.OpenBucket(ctx, s.cfg.ShipTo)
	}
	return err
}

// watched runs what is to be done with one file, with a deadline, and ends it earlier when
// nothing moves: a store that has stopped answering must not hold the loop.
func (s *shipper) watched(ctx context.Context, do func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, shipTimeout)
	defer cancel()
	s.duty.beat()
	var stood atomic.Bool
	s.still = time.AfterFunc(s.stillAfter, func() {
		stood.Store(true)
		cancel()
	})
	defer s.still.Stop()
	err := do(ctx)
	if err != nil && stood.Load() {
		return fmt.Errorf("nothing moved for %s: %w", s.stillAfter, err)
	}
	return err
}

// tellWaiting sets the metrics of what waits.
func (s *shipper) tellWaiting(list []logchain.Entry) {
	s.waiting.Set(float64(len(list)))
	oldest := int64(0)
	if len(list) > 0 {
		oldest = list[0].Time.UnixNano()
	}
	s.oldest.Store(oldest)
}

// ship copies one file, proves the copy and lists it.
func (s *shipper) ship(ctx context.Context, m *logchain.Manifest, e logchain.Entry) error {
	key := s.host + "/" + e.Name
	sum, err := s.hashOf(ctx, key)
	if err != nil && gcerrors.Code(err) != gcerrors.NotFound {
		return err
	}
	if sum != e.ZstSHA256 {
		err := s.upload(ctx, key, filepath.Join(s.cfg.LogDir, e.Name))
		if errors.Is(err, os.ErrNotExist) {
			return nil // retention made room; its tombstone comes, or the next pass tells
		}
		if err != nil {
			return err
		}
		if sum, err = s.hashOf(ctx, key); err != nil {
			return fmt.Errorf("cannot read it back: %w", err)
		}
	}
	if sum != e.ZstSHA256 {
		return fmt.Errorf("what was read back has the SHA-256 %s, its entry in the manifest %s", sum, e.ZstSHA256)
	}
	if _, there := m.File(e.Name); !there {
		return nil
	}
	if err := m.Append(logchain.Entry{Kind: logchain.Shipped, Time: time.Now(), Name: e.Name, Of: e.N, To: key}); err != nil {
		return err
	}
	s.files.Inc()
	s.bytes.AddInt64(e.ZstSize)
	s.log.Info("log shipped", zap.String("file", e.Name), zap.String("key", key), zap.Int64("bytes", e.ZstSize))
	return nil
}

// shipManifest copies the manifest too, so that the store can be proved by itself and
// knows a head that nobody on the volume can change.
func (s *shipper) shipManifest(ctx context.Context, m *logchain.Manifest, shipped bool) error {
	head := m.Head()
	if head == s.told || !shipped && time.Since(s.toldTime) < manifestPause {
		return nil
	}
	err := s.watched(ctx, func(ctx context.Context) error {
		return s.upload(ctx, s.host+"/"+logchain.FileName, filepath.Join(s.cfg.LogDir, logchain.FileName))
	})
	if err != nil {
		return fmt.Errorf("cannot ship the manifest to --ship-to=%s: %w", s.cfg.ShipTo, err)
	}
	s.told, s.toldTime = head, time.Now()
	return nil
}

// upload writes a file; it is in the store when that returns, or not at all.
func (s *shipper) upload(ctx context.Context, key, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	ctx, abandon := context.WithCancel(ctx) // a writer whose context has ended writes nothing
	defer abandon()
	w, err := s.bucket.NewWriter(ctx, key, &blob.WriterOptions{BufferSize: partBytes, MaxConcurrency: 1, ContentType: "application/octet-stream"})
	if err != nil {
		return err
	}
	if _, err := io.Copy(w, s.beating(f)); err != nil {
		abandon()
		_ = w.Close() // says that it was abandoned
		return err
	}
	return w.Close()
}

// hashOf reads an object and returns its SHA-256.
func (s *shipper) hashOf(ctx context.Context, key string) (string, error) {
	r, err := s.bucket.NewReader(ctx, key, nil)
	if err != nil {
		return "", err
	}
	defer func() { _ = r.Close() }() // nothing is written
	h := sha256.New()
	if _, err := io.Copy(h, s.beating(r)); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// beating tells health that something long moves.
func (s *shipper) beating(r io.Reader) io.Reader {
	return readFunc(func(b []byte) (int, error) {
		s.duty.beat()
		s.still.Reset(s.stillAfter)
		return r.Read(b)
	})
}

type readFunc func([]byte) (int, error)

func (f readFunc) Read(b []byte) (int, error) { return f(b) }
