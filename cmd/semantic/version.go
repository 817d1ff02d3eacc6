package main

import (
	"fmt"

	"github.com/semantic-pod/semantic/telemetry"
)

type versionCmd struct{}

func (versionCmd) Run(w *world) error {
	b := telemetry.ReadBuild()
	modified := ""
	if b.Modified {
		modified = " (modified)"
	}
	_, err := fmt.Fprintf(w.stdout, "semantic %s, commit %s%s, %s\n", b.Version, b.Commit, modified, b.Go)
	return err
}
