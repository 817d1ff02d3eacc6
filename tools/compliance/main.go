// Command compliance makes what proves where the binary comes from: the list of
// components and NOTICE in sbom/, the release in dist/, and the assessment of known
// vulnerabilities. The Makefile calls it; its outside tools are built into .tools.
//
// Read: main, detect, policy, texts, component, bundled, npm, builtin, bom, notice; release, files, changelog; vuln, and vex.
package main

import (
	"fmt"
	"os"

	"github.com/alecthomas/kong"
)

type commands struct {
	Notice  noticeCmd  `cmd:"" help:"Write sbom/components.json and sbom/NOTICE, or check that they are current."`
	Dist    distCmd    `cmd:"" help:"Build the release into a folder: binaries, SBOMs, provenance, signatures."`
	Release releaseCmd `cmd:"" help:"Check that version, tag, CHANGELOG, SBOM and semantic version agree."`
	Vuln    vulnCmd    `cmd:"" help:"Say which known vulnerabilities can be reached, as a CycloneDX VEX document."`
}

func main() {
	var c commands
	ctx := kong.Parse(&c, kong.Name("compliance"), kong.UsageOnError())
	if err := ctx.Run(); err != nil {
		fmt.Fprintf(os.Stderr, "compliance: %v\n", err)
		os.Exit(1)
	}
}
