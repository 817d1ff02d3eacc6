package store

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"
)

const (
	kills        = 30
	killedAgents = 3
	killedTokens = 256
)

// killOptions make agents whose files take long enough to write to be hit in the middle.
func killOptions() Options {
	o := small(testKey)
	o.Geometry = Geometry{Layers: 2, KVDim: 256, BlockTokens: 4, BlockBytes: 8192}
	return o
}

// Processes that write without a pause are killed at random, and each agent is found as it was
// acknowledged last or as it was being written.
func TestKilledForReal(t *testing.T) {
	dir, o := t.TempDir(), killOptions()
	acknowledged, begun := map[int]int{}, map[int]int{}
	version, torn := 0, 0
	for round := range kills {
		child := role("write for ever", dir, strconv.Itoa(version))
		out, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		if !lines.Scan() {
			t.Fatal("the process did not open the store")
		}
		time.AfterFunc(time.Duration(rand.IntN(60_000))*time.Microsecond, func() { _ = child.Process.Kill() })
		for lines.Scan() {
			var what string
			var id, v int
			if _, err := fmt.Sscan(lines.Text(), &what, &id, &v); err != nil {
				t.Fatalf("%q: %v", lines.Text(), err)
			}
			version = max(version, v+1)
			if what == "wrote" {
				acknowledged[id] = v
			} else {
				begun[id] = v
			}
		}
		_ = child.Wait()
		s := openStore(t, dir, o)
		if r := s.Report(); r.Quarantined != 0 || r.Temporary > 1 {
			t.Fatalf("after kill %d: found %+v", round, r)
		}
		torn += s.Report().Temporary
		for id := range killedAgents {
			got, err := read(s, "acme", strconv.Itoa(id))
			if errors.Is(err, ErrNotFound) && acknowledged[id] == 0 {
				continue
			}
			is := func(v int) bool {
				return err == nil && equal(got, makeSized(o.Geometry, "acme", strconv.Itoa(id), v, killedTokens))
			}
			switch {
			case is(acknowledged[id]):
			case is(begun[id]):
				acknowledged[id] = begun[id] // it was killed before it could say so
			default:
				t.Fatalf("after kill %d: agent %d is neither as acknowledged (%d) nor as begun (%d): %v", round, id, acknowledged[id], begun[id], err)
			}
		}
		s.Close()
	}
	if torn == 0 || len(acknowledged) < killedAgents {
		t.Fatalf("of %d kills none came in the middle of a write, or nothing was written: %v", kills, acknowledged)
	}
}

// writeForEver is the child: it writes agents until it is killed, and says so before and after.
func writeForEver() {
	s, err := Open(os.Args[1], killOptions())
	must(err)
	version, err := strconv.Atoi(os.Args[2])
	must(err)
	fmt.Println("open")
	for v := version + 1; ; v++ {
		id := v % killedAgents
		fmt.Println("writes", id, v)
		must(s.Write(context.Background(), makeSized(s.opt.Geometry, "acme", strconv.Itoa(id), v, killedTokens)))
		fmt.Println("wrote", id, v)
	}
}
