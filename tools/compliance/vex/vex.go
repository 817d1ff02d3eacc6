// Package vex asks govulncheck which known vulnerabilities the sources hold, and says of
// each, as a CycloneDX VEX document that links to the binary's SBOM, whether its code is
// in the program and can be reached.
//
// Read: vex, entries, database, findings, document.
package vex

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"time"

	cdx "github.com/CycloneDX/cyclonedx-go"
)

// Question is what to ask.
type Question struct {
	Govulncheck string   // the program
	Root        string   // folder of the sources
	Env         []string // added to the process's own
	Database    string   // folder, or URL (http, https, file), in the layout of the Go vulnerability database
	SBOM        *cdx.BOM // of what is built from the packages

	// Prepare returns the packages to look at. It is called if there is a database.
	Prepare func() ([]string, error)
}

// Answer is what govulncheck found.
type Answer struct {
	Document  *cdx.BOM
	Reachable []string // identifiers of the vulnerabilities whose code can be reached
}

// ErrNoDatabase says that there is no database where it was looked for.
var ErrNoDatabase = errors.New("no vulnerability database")

// analysisTimeout is many times what the analysis of the whole program takes.
const analysisTimeout = 20 * time.Minute

// Assess runs govulncheck over the packages. The error wraps ErrNoDatabase if there is
// none to be had.
func Assess(ctx context.Context, q Question) (*Answer, error) {
	database, err := findDatabase(ctx, q.Database)
	if err != nil {
		return nil, err
	}
	packages, err := q.Prepare()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, analysisTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, q.Govulncheck, append([]string{"-format", "json", "-db", database}, packages...)...)
	var stderr bytes.Buffer
	cmd.Dir, cmd.Env, cmd.Stderr, cmd.WaitDelay = q.Root, append(os.Environ(), q.Env...), &stderr, time.Second
	out, err := cmd.Output()
	switch {
	case errors.Is(err, exec.ErrNotFound), errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%w; run: make compliance-tools", err)
	case ctx.Err() != nil:
		return nil, fmt.Errorf("govulncheck was given up after %v: %w", analysisTimeout, ctx.Err())
	case err != nil:
		return nil, fmt.Errorf("govulncheck with the database %s: %w\n%s", database, err, stderr.Bytes())
	}
	report, err := readReport(out)
	if err != nil {
		return nil, err
	}
	return report.answer(q.SBOM)
}
