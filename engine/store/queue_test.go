package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// gated is a file system whose syncs wait until they are let through, as on a slow disk.
type gated struct {
	lazy
	arrived chan string   // the name of each file that is about to be created
	let     chan struct{} // one token lets one file through
}

func newGated() gated { return gated{arrived: make(chan string, 100), let: make(chan struct{}, 100)} }

func (g gated) Create(path string) (file, error) {
	g.arrived <- path
	<-g.let
	return g.lazy.Create(path)
}

// results collects what a queue says of its jobs.
type results struct {
	mu   sync.Mutex
	list []string
}

func (r *results) job(a Agent) Job {
	return Job{Agent: a, Done: func(err error) {
		r.mu.Lock()
		defer r.mu.Unlock()
		what := "written"
		switch {
		case errors.Is(err, ErrSuperseded):
			what = "superseded"
		case errors.Is(err, ErrDeleted):
			what = "deleted"
		case err != nil:
			what = string(reasonOf(err))
		}
		r.list = append(r.list, a.ID+" "+what)
	}}
}

func (r *results) all() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Join(slices.Sorted(slices.Values(r.list)), ", ")
}

func closeQueue(t testing.TB, q *Queue, within time.Duration) Tally {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	tally, err := q.Close(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return tally
}

func TestQueueWritesWhatItTookAndSaysSo(t *testing.T) {
	s := openStore(t, t.TempDir(), small(nil))
	q := NewQueue(s, 100, time.Minute)
	var r results
	var agents []Agent
	for i := range 20 {
		a := makeAgent("acme", fmt.Sprintf("%02d", i), 1, 10)
		agents = append(agents, a)
		if err := q.Enqueue(context.Background(), r.job(a)); err != nil {
			t.Fatal(err)
		}
	}
	tally := closeQueue(t, q, time.Minute)
	if n := strings.Count(r.all(), "written"); n != 20 || tally.Failed+tally.Left != 0 || tally.Persisted > 20 {
		t.Fatalf("%d were written, %+v: %s", n, tally, r.all())
	}
	wantServed(t, s, agents...)
	if q.TryEnqueue(r.job(agents[0])) {
		t.Error("a closed queue took a job")
	}
	if err := q.Enqueue(context.Background(), r.job(agents[0])); !errors.Is(err, ErrClosed) {
		t.Errorf("a closed queue: %v", err)
	}
}

func TestQueueNeverWaitsForTheDiskAndIsBounded(t *testing.T) {
	g := newGated()
	o := small(nil)
	o.files = g
	s := openStore(t, t.TempDir(), o)
	q := NewQueue(s, 3, time.Minute)
	var r results
	if !q.TryEnqueue(r.job(makeAgent("acme", "first", 1, 10))) {
		t.Fatal("an empty queue refuses")
	}
	<-g.arrived // and hangs there
	for i, want := range []bool{true, true, true, false, false} {
		start := time.Now()
		if got := q.TryEnqueue(r.job(makeAgent("acme", fmt.Sprint(i), 1, 10))); got != want || time.Since(start) > time.Second {
			t.Fatalf("job %d: %v after %s", i, got, time.Since(start))
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if err := q.Enqueue(ctx, r.job(makeAgent("acme", "late", 1, 10))); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("enqueued beyond the depth: %v", err)
	}
	if q.Len() != 4 {
		t.Fatalf("%d wait", q.Len())
	}
	done := make(chan error, 2)
	for i := range 2 { // two wait for room; both get it
		go func() {
			done <- q.Enqueue(context.Background(), r.job(makeAgent("acme", fmt.Sprint("patient ", i), 1, 10)))
		}()
	}
	for range 10 {
		g.let <- struct{}{}
	}
	if err := errors.Join(<-done, <-done); err != nil {
		t.Fatal(err)
	}
	closeQueue(t, q, time.Minute)
	if got := r.all(); got != "0 written, 1 written, 2 written, first written, patient 0 written, patient 1 written" {
		t.Fatal(got)
	}
}

func TestOnlyTheNewestStateThatWaitsIsWritten(t *testing.T) {
	g := newGated()
	o := small(nil)
	o.files = g
	s := openStore(t, t.TempDir(), o)
	q := NewQueue(s, 10, time.Minute)
	var r results
	q.TryEnqueue(r.job(makeAgent("acme", "a", 1, 10)))
	<-g.arrived // the first is being written; the others wait
	for v := 2; v <= 4; v++ {
		q.TryEnqueue(r.job(makeAgent("acme", "a", v, 10)))
	}
	q.TryEnqueue(r.job(makeAgent("other", "a", 1, 10)))
	for range 3 {
		g.let <- struct{}{}
	}
	closeQueue(t, q, time.Minute)
	if got := r.all(); got != "a superseded, a superseded, a written, a written, a written" {
		t.Fatal(got)
	}
	wantServed(t, s, makeAgent("acme", "a", 4, 10), makeAgent("other", "a", 1, 10))
}

func TestForgottenAgentIsNotWritten(t *testing.T) {
	g := newGated()
	o := small(nil)
	o.files = g
	s := openStore(t, t.TempDir(), o)
	q := NewQueue(s, 10, time.Minute)
	var r results
	q.TryEnqueue(r.job(makeAgent("acme", "a", 1, 10)))
	<-g.arrived
	q.TryEnqueue(r.job(makeAgent("acme", "a", 2, 10)))
	q.TryEnqueue(r.job(makeAgent("acme", "b", 1, 10)))
	q.Forget("acme", "a") // both the one under way and the one that waits
	for range 2 {
		g.let <- struct{}{}
	}
	closeQueue(t, q, time.Minute)
	if got := r.all(); got != "a deleted, a deleted, b written" {
		t.Fatal(got)
	}
	if got := ids(s); got != "acme/b" {
		t.Fatalf("on disk: %s", got)
	}
	wantAccounts(t, s)
}

func TestCloseWritesWhatItHasTimeForAndCountsTheRest(t *testing.T) {
	g := newGated()
	o := counted(small(nil))
	o.files = g
	s := openStore(t, t.TempDir(), o)
	q := NewQueue(s, 10, time.Minute)
	var r results
	for i := range 5 {
		q.TryEnqueue(r.job(makeAgent("acme", fmt.Sprint(i), 1, 10)))
	}
	<-g.arrived
	tallies := make(chan Tally)
	go func() { tallies <- closeQueue(t, q, 300*time.Millisecond) }()
	for !closing(q) {
		time.Sleep(time.Millisecond)
	}
	g.let <- struct{}{} // two are written; the third hangs until the time is up, then is let go
	g.let <- struct{}{}
	time.AfterFunc(500*time.Millisecond, func() { g.let <- struct{}{} })
	if got := <-tallies; got != (Tally{Persisted: 2, Left: 3}) {
		t.Fatalf("%+v", got)
	}
	if got := r.all(); got != "0 written, 1 written, 2 deadline, 3 deadline, 4 deadline" {
		t.Fatal(got)
	}
	if n := o.Metrics.failures[Deadline].Get(); n != 3 {
		t.Errorf("%d failures are counted", n)
	}
	s = reopen(t, s, unsynced(small(nil)))
	if got := ids(s); got != "acme/0 acme/1" || s.Report().Temporary != 0 {
		t.Fatalf("on disk: %s, %+v", got, s.Report())
	}
}

func closing(q *Queue) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.closed
}

func TestCloseDoesNotHangOnADiskThatDoes(t *testing.T) {
	g := newGated()
	o := small(nil)
	o.files = g
	s := openStore(t, t.TempDir(), o)
	q := NewQueue(s, 10, time.Minute)
	var r results
	q.TryEnqueue(r.job(makeAgent("acme", "a", 1, 10)))
	q.TryEnqueue(r.job(makeAgent("acme", "b", 1, 10)))
	<-g.arrived
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	tally, err := q.Close(ctx)
	if err == nil || tally != (Tally{Left: 2}) || !strings.Contains(err.Error(), "--cache-dir") {
		t.Fatalf("%+v, %v", tally, err)
	}
	// Another process gets the folder only when the last write has let go.
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(s.dir, small(nil)); !errors.Is(err, ErrLocked) {
		t.Fatalf("opened while a write hangs: %v", err)
	}
	g.let <- struct{}{}
	<-q.done
	if got := ids(openStore(t, s.dir, small(nil))); got != "" {
		t.Fatalf("on disk: %s", got)
	}
}

func TestWriteGivesUpAtItsDeadlineOrDeletion(t *testing.T) {
	g := newGated()
	o := counted(small(nil))
	o.files = g
	s := openStore(t, t.TempDir(), o)
	g.let <- struct{}{}
	write(t, s, makeAgent("acme", "a", 1, 10))
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	time.AfterFunc(50*time.Millisecond, func() { g.let <- struct{}{} })
	if err := s.Write(ctx, makeAgent("acme", "a", 2, 10)); reasonOf(err) != Deadline || o.Metrics.failures[Deadline].Get() != 1 {
		t.Fatalf("late: %v", err)
	}
	wantServed(t, s, makeAgent("acme", "a", 1, 10))
	written := make(chan error)
	for len(g.arrived) > 0 {
		<-g.arrived
	}
	go func() { written <- s.Write(context.Background(), makeAgent("acme", "a", 3, 10)) }()
	<-g.arrived
	time.AfterFunc(10*time.Millisecond, func() { g.let <- struct{}{} })
	if err := s.Delete(context.Background(), "acme", "a"); err != nil {
		t.Fatal(err)
	}
	if err := <-written; !errors.Is(err, ErrDeleted) {
		t.Fatalf("deleted while it was written: %v", err)
	}
	wantNone(t, s, "acme", "a")
	wantAccounts(t, s)
}

// late is a file system on which the time is up just before a file would be renamed.
type late struct {
	lazy
	timeIsUp context.CancelFunc
}

func (l late) SetTime(path string, t time.Time) error {
	l.timeIsUp()
	return l.lazy.SetTime(path, t)
}

func TestWriteThatFailsLeavesTheOldFileHoweverLateItFails(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir, small(nil))
	write(t, s, makeAgent("acme", "a", 1, 10))
	s.Close()
	ctx, cancel := context.WithCancel(context.Background())
	o := small(nil)
	o.files = late{timeIsUp: cancel}
	s = openStore(t, dir, o)
	if err := s.Write(ctx, makeAgent("acme", "a", 2, 10)); reasonOf(err) != Deadline {
		t.Fatal(err)
	}
	wantServed(t, s, makeAgent("acme", "a", 1, 10))
	wantAccounts(t, s)
}

func TestAgentThatIsBeingWrittenIsNotRemovedMeanwhile(t *testing.T) {
	c, g := newClock(), newGated()
	o := small(nil)
	o.files, o.Now, o.TTL = g, c.now, time.Hour
	s := openStore(t, t.TempDir(), o)
	g.let <- struct{}{}
	write(t, s, makeAgent("acme", "a", 1, 10))
	<-g.arrived
	c.add(2 * time.Hour)
	written := make(chan error)
	go func() { written <- s.Write(context.Background(), makeAgent("acme", "a", 2, 10)) }()
	<-g.arrived
	if n := s.Sweep(); n != 0 {
		t.Errorf("%d files were removed while they were written", n)
	}
	g.let <- struct{}{}
	if err := <-written; err != nil {
		t.Fatal(err)
	}
	wantServed(t, s, makeAgent("acme", "a", 2, 10))
	wantAccounts(t, s)
}

func TestQueueSweepsWhatExpired(t *testing.T) {
	// The timer fires every minute; what it calls is tested with Sweep. Here: it is called.
	c := newClock()
	o := small(nil)
	o.Now, o.TTL = c.now, time.Hour
	s := openStore(t, t.TempDir(), o)
	write(t, s, makeAgent("acme", "a", 1, 10))
	c.add(2 * time.Hour)
	q := newQueue(s, 10, time.Minute, time.Millisecond)
	defer closeQueue(t, q, time.Minute)
	for end := time.Now().Add(5 * time.Second); s.Used() > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the expired agent is still there")
		}
	}
}
