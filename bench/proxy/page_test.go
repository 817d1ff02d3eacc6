package main

import (
	"flag"
	"os"
	"strings"
	"testing"
)

var updatePages = flag.Bool("update", false, "write the pages anew")

// The tables of docs/proxy-cost.md and of the README are those that bench/proxy.json
// makes.
func TestCostPageIsThatOfTheCode(t *testing.T) {
	r, err := readResults("../proxy.json")
	if err != nil || len(r.Cases) == 0 {
		t.Fatalf("%d cases: %v", len(r.Cases), err)
	}
	for path, blocks := range map[string]int{"../../docs/proxy-cost.md": len(tables) + 2, "../../README.md": 1} {
		have, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		want, filled, err := fill(string(have), r.blocks())
		if err != nil || filled != blocks {
			t.Errorf("%s has %d blocks of figures, want %d: %v", path, filled, blocks, err)
			continue
		}
		if *updatePages {
			if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
				t.Fatal(err)
			}
		} else if string(have) != want {
			t.Errorf("%s is not what bench/proxy.json says; run: make docs", path)
		}
	}
}

func TestAFigureThatIsMissingLeavesItsPlaceEmpty(t *testing.T) {
	r := results{Cases: map[string]map[string]map[string][]float64{"small-64": {"nginx": {"cpu_us": {2, 1, 4}}}}}
	made := r.blocks()
	if got := made["small"]; !strings.Contains(got, "| nginx | 2.0 (1.0–4.0) |  |\n") || !strings.Contains(got, "| semantic |  |  |\n") {
		t.Errorf("%s", got)
	}
	if _, _, err := fill("<!-- bench/proxy.json: small -->\nold\n", made); err == nil {
		t.Error("a block without an end is taken")
	}
	page, n, err := fill("a\n<!-- bench/proxy.json: small -->\nold\n<!-- end -->\nb\n", made)
	if err != nil || n != 1 || strings.Contains(page, "old") || !strings.HasSuffix(page, "<!-- end -->\nb\n") {
		t.Errorf("%d %v %s", n, err, page)
	}
}
