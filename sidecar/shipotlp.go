package sidecar

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/semantic-pod/semantic/logchain"
	"github.com/semantic-pod/semantic/sidecar/otlplogs"
	"github.com/semantic-pod/semantic/telemetry"
)

// lineShipper sends the lines of the folder's logs to an OTLP receiver as they come,
// each at least once: the cursor moves only behind what the receiver has taken, and
// retention waits for it. One batch at a time is held in memory.
type lineShipper struct {
	cfg    Config
	host   string
	client *otlplogs.Client
	owner  *ownership
	duty   *duty
	log    *zap.Logger
	pause  time.Duration // before the next try, after a failure

	cursor *cursor // nil until the folder is ours
	term   uint64
	saved  time.Time
	tails  map[string]*tail
	unsent map[string]*batch

	mu    sync.Mutex
	after map[string]string // by log: stamp up to which retention need not wait

	oldest atomic.Int64 // when the oldest line that was not taken was written, in ns; 0: none
	lines  *telemetry.Counter
	lost   *telemetry.Counter
}

// batch is lines that were read and not taken yet.
type batch struct {
	lines [][]byte
	after position
}

const (
	firstShipPause = time.Second
	maxShipPause   = 30 * time.Second
	cursorPause    = time.Second // between two writings of the cursor while lines flow
)

// newLineShipper returns nil if no lines are sent.
func newLineShipper(cfg Config, owner *ownership, log *zap.Logger, m *telemetry.Metrics) (*lineShipper, error) {
	s := &lineShipper{
		cfg: cfg, owner: owner, log: log,
		tails: map[string]*tail{}, unsent: map[string]*batch{}, after: map[string]string{},
		lines: m.Counter("semantic_log_lines_shipped_total", "", "Log lines that the OTLP receiver has taken."),
		lost:  m.Counter("semantic_log_lines_unshipped_total", `reason="refused"`, unshippedHelp),
	}
	m.GaugeFunc("semantic_log_ship_lag_seconds", `to="otlp"`, lagHelp, s.lag)
	if cfg.ShipOTLP == "" {
		return nil, nil
	}
	client, err := otlplogs.New(cfg.ShipOTLP)
	if err != nil {
		return nil, fmt.Errorf("cannot ship to --ship-otlp=%s: %w", cfg.ShipOTLP, err)
	}
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	s.client, s.host = client, host
	s.duty = newDuty("log_ship_otlp", patience(cfg.CheckInterval), log, m)
	return s, nil
}

const (
	lagHelp       = "Age of the oldest log line, or archived log, that is not where it is shipped to; no number where nothing is shipped."
	unshippedHelp = "Log lines that will not be shipped: the receiver refused them, or a full disk had them removed before."
)

func (s *lineShipper) lag() float64 {
	if s.client == nil {
		return math.NaN()
	}
	return age(s.oldest.Load())
}

// age is the seconds since a time in nanoseconds; 0 is none.
func age(since int64) float64 {
	if since == 0 {
		return 0
	}
	return max(0, time.Since(time.Unix(0, since)).Seconds())
}

// sent reports whether retention may take the file.
func (s *lineShipper) sent(f file) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	after, known := s.after[f.log]
	return logchain.HoldsErrors(f.log) || known && f.stamp <= after
}

// loop sends until ctx ends.
func (s *lineShipper) loop(ctx context.Context) {
	defer s.client.Close()
	defer s.closeTails()
	for {
		more, err := s.pass(ctx)
		if ctx.Err() != nil {
			break
		}
		s.duty.done(err)
		if more {
			continue
		}
		if !s.duty.rest(ctx, s.rest(err)) {
			break
		}
	}
	if s.cursor != nil {
		if err := s.save(); err != nil {
			s.log.Warn("lines that the receiver has taken will be sent again", zap.Error(err))
		}
	}
}

// rest is the time until the next pass: short when all was taken or something of our own
// disk failed, longer from failure to failure of the receiver, and as long as that asks for.
func (s *lineShipper) rest(err error) time.Duration {
	if !errors.Is(err, errNotSent) {
		s.pause = 0
		return min(s.cfg.CheckInterval, time.Second)
	}
	s.pause = min(max(firstShipPause, 2*s.pause), maxShipPause)
	if busy := (*otlplogs.BusyError)(nil); errors.As(err, &busy) {
		return max(s.pause, busy.After)
	}
	return s.pause
}

// errNotSent marks what is of the receiver, or of the way to it.
var errNotSent = errors.New("cannot send lines")

// pass sends one batch of each log, and reports whether to go on at once. A log that
// cannot be read does not hold up the others.
func (s *lineShipper) pass(ctx context.Context) (more bool, err error) {
	if ready, err := s.hold(); !ready {
		return false, err
	}
	names, err := s.logs()
	if err != nil {
		return false, err
	}
	var errs []error
	oldest := int64(math.MaxInt64)
	for _, name := range names {
		b, err := s.read(name)
		if b != nil {
			oldest = min(oldest, writtenAt(b.lines[0]))
			s.oldest.Store(oldest)
			if err = s.send(ctx, name, b); err == nil {
				more = true
			}
		}
		errs = append(errs, err)
	}
	more = more && !errors.Is(errors.Join(errs...), errNotSent)
	if !more {
		if oldest == math.MaxInt64 {
			oldest = 0
		}
		s.oldest.Store(oldest)
	}
	if !more || time.Since(s.saved) > cursorPause {
		errs = append(errs, s.save())
	}
	return more, errors.Join(errs...)
}

// hold makes sure that the folder is ours, and reads the cursor when it became so.
func (s *lineShipper) hold() (bool, error) {
	term, err := s.owner.hold()
	if err != nil {
		return false, err
	}
	if s.cursor != nil && s.term == term {
		return true, nil
	}
	s.closeTails()
	c, err := readCursor(s.cfg.LogDir)
	if err != nil {
		s.log.Error("all logs of the folder are sent again", zap.Error(err))
	}
	s.cursor, s.term = c, term
	s.tellRetention()
	return true, nil
}

// save puts the cursor onto the disk, and only then lets retention have what was taken:
// a sidecar that is killed must find the file in which its cursor is. Where the disk does
// not take it retention goes on, for it may be what makes room.
func (s *lineShipper) save() error {
	err := s.cursor.save()
	s.saved = time.Now()
	s.tellRetention()
	return err
}

// tellRetention says how far each log was sent.
func (s *lineShipper) tellRetention() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for log, at := range s.cursor.logs {
		s.after[log] = at.After
	}
}

// logs names the folder's logs, without those that copy error lines of others.
func (s *lineShipper) logs() ([]string, error) {
	found, err := look(s.cfg.LogDir)
	if err != nil {
		return nil, fmt.Errorf("cannot list --log-dir=%s: %w", s.cfg.LogDir, err)
	}
	var names []string
	seen := map[string]bool{}
	for _, list := range [][]file{found.active, found.rotated, found.archive} {
		for _, f := range list {
			if !seen[f.log] && !logchain.HoldsErrors(f.log) {
				seen[f.log] = true
				names = append(names, f.log)
			}
		}
	}
	return names, nil
}

// read returns the batch that is to be sent next, or nil.
func (s *lineShipper) read(log string) (*batch, error) {
	if b := s.unsent[log]; b != nil {
		return b, nil
	}
	t := s.tails[log]
	if t == nil {
		t = &tail{dir: s.cfg.LogDir, log: log, next: s.cursor.logs[log], gap: s.gap}
		s.tails[log] = t
	}
	lines, after, err := t.lines()
	if err != nil {
		return nil, err
	}
	if len(lines) == 0 {
		s.cursor.move(log, after)
		return nil, nil
	}
	s.unsent[log] = &batch{lines: lines, after: after}
	return s.unsent[log], nil
}

// gap tells that the file in which sending stopped is no more.
func (s *lineShipper) gap(was position, now string) {
	s.log.Error("the log that was being sent was removed before its end", zap.String("after", was.After), zap.Int64("offset", was.Offset), zap.String("continued_with", now))
}

// send has a batch taken, and moves the cursor behind it. Of lines that the receiver
// refuses the good ones are found by halving: one bad line must not hold up the others.
func (s *lineShipper) send(ctx context.Context, log string, b *batch) error {
	from := otlplogs.Origin{Process: strings.TrimSuffix(log, logchain.ActiveSuffix), Host: s.host, Version: telemetry.ReadBuild().Version}
	proved := false // that who refused the line takes calls
	for size := len(b.lines); len(b.lines) > 0; {
		s.duty.beat()
		size = min(size, len(b.lines))
		rejected, err := s.client.Send(ctx, from, b.lines[:size])
		switch {
		case err == nil:
			s.lines.AddInt64(int64(size) - rejected)
			s.lost.AddInt64(rejected)
			if rejected > 0 {
				s.log.Warn("the OTLP receiver did not take some lines", zap.String("file", log), zap.Int64("lines", rejected))
			}
		case !errors.Is(err, otlplogs.ErrRefused):
			return fmt.Errorf("%w to --ship-otlp=%s: %w", errNotSent, s.cfg.ShipOTLP, err)
		case size > 1:
			size /= 2
			continue
		case !proved:
			if s.client.Probe(ctx, from) != nil {
				return fmt.Errorf("%w to --ship-otlp=%s: not even an empty call is taken there: %w", errNotSent, s.cfg.ShipOTLP, err)
			}
			proved = true // and the line is sent once more
			continue
		default:
			s.lost.Inc()
			s.log.Error("the OTLP receiver refuses a line; it is left out", zap.String("file", log), zap.Error(err))
		}
		proved = false
		b.lines = b.lines[size:]
		size = max(size, min(2*size, len(b.lines)))
	}
	delete(s.unsent, log)
	s.cursor.move(log, b.after)
	return nil
}

// writtenAt is when a line says that it was written, in ns; now if it does not say.
func writtenAt(line []byte) int64 {
	if l, ok := logchain.ParseLine(line); ok {
		if at, err := time.Parse(time.RFC3339Nano, string(l.Time)); err == nil {
			return at.UnixNano()
		}
	}
	return time.Now().UnixNano()
}

func (s *lineShipper) closeTails() {
	for _, t := range s.tails {
		t.close()
	}
	clear(s.tails)
	clear(s.unsent)
}
