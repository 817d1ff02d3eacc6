package sidecar

import (
	"os"
	"strconv"
	"strings"
	"testing"
)

// What is let go is resident no more, what may have been written to is not among it, and
// the process goes on.
func TestPagesOfTheStartAreLetGo(t *testing.T) {
	before := residentOf(t)
	if len(before) == 0 {
		t.Fatal("no part of the binary is found")
	}
	if err := letGo(); err != nil {
		t.Fatal(err)
	}
	total := func(sizes map[span]int) (sum int) {
		for _, kib := range sizes {
			sum += kib
		}
		return sum
	}
	after := residentOf(t)
	if total(after) >= total(before) {
		t.Errorf("%d KiB of the binary were resident, and are %d", total(before), total(after))
	}
	t.Logf("%d KiB of the binary were resident, and are %d", total(before), total(after))
	for _, m := range ownPages("00400000-00500000 r-xp 00000000 fe:00 1 /another\nAnonymous:             0 kB\n") {
		t.Errorf("%x is of another file", m)
	}
	exe, err := os.Readlink("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range ownPages("00400000-00500000 r--p 00000000 fe:00 1 " + exe + "\nAnonymous:             4 kB\n" +
		"00500000-00600000 rw-p 00000000 fe:00 1 " + exe + "\nAnonymous:             0 kB\n") {
		t.Errorf("%x may have been written to", m)
	}
}

// residentOf tells how much of each part that can be let go is resident, in KiB.
func residentOf(t *testing.T) map[span]int {
	smaps, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		t.Fatal(err)
	}
	own := map[span]bool{}
	for _, m := range ownPages(string(smaps)) {
		own[m] = true
	}
	sizes := map[span]int{}
	var at span
	for text := range strings.Lines(string(smaps)) {
		line := strings.Fields(text)
		if len(line) >= 5 && strings.Contains(line[0], "-") {
			at = parseSpan(line[0])
		}
		if line[0] == "Rss:" && own[at] {
			if sizes[at], err = strconv.Atoi(line[1]); err != nil {
				t.Fatal(err)
			}
		}
	}
	return sizes
}
