package vex

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

var mainClause = regexp.MustCompile(`(?m)^package main$`)

// OpenEntries makes an importable package of the program in a folder of a copy of the
// sources. A program's only entry is main, from which calls by reflection are not seen: to
// govulncheck, no subcommand would be reachable. A package's entries are all that it exports.
func OpenEntries(folder string) error {
	names, err := filepath.Glob(filepath.Join(folder, "*.go"))
	if err != nil {
		return err
	}
	opened := 0
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") { // of a package main that is no more
			if err := os.Remove(name); err != nil {
				return err
			}
			continue
		}
		b, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		if !mainClause.Match(b) {
			return fmt.Errorf("%s is of no program", name)
		}
		if err := os.WriteFile(name, mainClause.ReplaceAll(b, []byte("package program")), 0o644); err != nil {
			return err
		}
		opened++
	}
	if opened == 0 {
		return fmt.Errorf("%s holds no program", folder)
	}
	entry := "package program\n\n// Main is the entry that the program has.\nfunc Main() { main() }\n"
	return os.WriteFile(filepath.Join(folder, "entry_of_program.go"), []byte(entry), 0o644)
}
