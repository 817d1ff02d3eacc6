package main

import (
	"os/exec"
	"strings"
	"testing"
)

const module = "github.com/semantic-pod/semantic/"

// TestImportsRunOneWay holds the arrows of the layout: cmd → proxy, engine,
// sidecar → the noun packages → nothing of ours. Tests may look further.
func TestImportsRunOneWay(t *testing.T) {
	out, err := exec.Command("go", "list", "-f", `{{.ImportPath}} {{join .Imports " "}}`, module+"...").CombinedOutput()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, out)
	}
	seen := map[string]int{}
	for line := range strings.Lines(string(out)) {
		words := strings.Fields(line)
		from := strings.TrimPrefix(words[0], module)
		for _, path := range words[1:] {
			to, ours := strings.CutPrefix(path, module)
			if !ours {
				continue
			}
			seen[layer(from)]++
			if !mayImport(from, to) {
				t.Errorf("%s must not import %s", from, to)
			}
		}
	}
	for _, l := range []string{"cmd", "process"} {
		if seen[l] == 0 {
			t.Errorf("no import of ours was seen in layer %q: is the list empty?\n%s", l, out)
		}
	}
}

// layer names the height at which a package stands.
func layer(pkg string) string {
	switch root(pkg) {
	case "cmd", "e2e", "bench", "tools":
		return "cmd"
	case "proxy", "engine", "sidecar":
		return "process"
	}
	return "noun"
}

func root(pkg string) string {
	name, _, _ := strings.Cut(pkg, "/")
	return name
}

func mayImport(from, to string) bool {
	switch {
	case layer(to) == "cmd":
		return root(from) == root(to)
	case layer(from) == "cmd":
		return true
	case layer(from) == "process":
		return layer(to) == "noun" || root(from) == root(to)
	}
	return root(from) == root(to) // noun packages import nothing of ours
}
