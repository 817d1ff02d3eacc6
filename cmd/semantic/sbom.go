package main

import (
	"bytes"
	"debug/buildinfo"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"strings"

	cdx "github.com/CycloneDX/cyclonedx-go"

	"github.com/semantic-pod/semantic/api"
	"github.com/semantic-pod/semantic/engine/builtin"
	"github.com/semantic-pod/semantic/sbom"
	"github.com/semantic-pod/semantic/sidecar"
	"github.com/semantic-pod/semantic/telemetry"
)

// sbomCmd tells what the binary is made of.
type sbomCmd struct {
	Show     sbomShowCmd     `cmd:"" help:"Print the SBOM of this binary."`
	Verify   sbomVerifyCmd   `cmd:"" help:"Hold a binary's own record of its modules, and its hash, against an SBOM."`
	Affected sbomAffectedCmd `cmd:"" help:"Say whether this binary holds a package; the exit status is 1 if it does."`
}

// ownSBOM is the list of this binary's components.
func ownSBOM() (*cdx.BOM, *debug.BuildInfo, error) {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return nil, nil, errors.New("this binary holds no record of its build: build it with Go modules")
	}
	build, err := sbom.BuildOf(info, telemetry.ReadBuild().Version)
	if err != nil {
		return nil, nil, err
	}
	bom, err := sbom.Describe(build)
	return bom, info, err
}

type sbomShowCmd struct {
	Format   string `name:"format" enum:"json,xml,spdx" default:"json" env:"-" help:"Form: json or xml (CycloneDX 1.6), or spdx (SPDX 2.3, JSON)."`
	Notice   bool   `name:"notice" xor:"what" env:"-" help:"Print NOTICE instead: every copyright and licence text."`
	Licences bool   `name:"licences" aliases:"licenses" xor:"what" env:"-" help:"Print the licence of each component instead."`
}

func (c *sbomShowCmd) Run(w *world) error {
	if c.Notice {
		_, err := w.stdout.Write(sbom.Notice)
		return err
	}
	bom, _, err := ownSBOM()
	if err != nil {
		return err
	}
	if c.Licences {
		for _, l := range sbom.Licences(bom) {
			if _, err := fmt.Fprintf(w.stdout, "%s %s: %s\n", l.Name, l.Version, l.Licence); err != nil {
				return err
			}
		}
		return nil
	}
	b, err := sbom.Encode(bom, sbom.Form(c.Format))
	if err != nil {
		return err
	}
	_, err = w.stdout.Write(b)
	return err
}

type sbomVerifyCmd struct {
	SBOM   string `arg:"" optional:"" name:"sbom" placeholder:"FILE" help:"CycloneDX file, JSON or XML; by default the SBOM within this binary."`
	Binary string `name:"binary" env:"-" xor:"against" placeholder:"FILE" help:"Binary to hold it against; by default this one."`
	Socket string `name:"socket" env:"-" xor:"against" placeholder:"PATH" help:"Unix socket of a process that runs, to hold it against what that was built from."`
}

func (c *sbomVerifyCmd) Run(w *world) error {
	bom, info, err := ownSBOM()
	if err != nil {
		return err
	}
	if c.SBOM != "" {
		if bom, err = readSBOM(c.SBOM); err != nil {
			return err
		}
	}
	if c.Socket != "" {
		return c.verifyProcess(w, bom)
	}
	hash, err := telemetry.ExecutableSHA256()
	what := "this binary"
	if c.Binary != "" {
		what = c.Binary
		if info, err = buildinfo.ReadFile(c.Binary); err != nil {
			return usage(fmt.Errorf("cannot read --binary=%s: %w", c.Binary, err))
		}
		hash, err = hashFile(c.Binary)
	}
	if err != nil {
		return err
	}
	differences := sbom.Compare(bom, info.GoVersion, sbom.LinkedModules(info))
	model := ""
	if c.Binary == "" { // another's model is covered by the hash of its file
		model = "; its built-in model is the SBOM's"
		if diff := sbom.CompareBuiltin(bom, builtin.File); diff != "" {
			differences = append(differences, diff)
		}
	}
	hashed := "the SBOM holds no hash of the binary: the one within it cannot"
	if want := sbom.FileHash(bom); want != "" {
		hashed = "its SHA-256 is the SBOM's"
		if want != hash {
			differences = append(differences, fmt.Sprintf("its SHA-256 is %s, the SBOM says %s", hash, want))
		}
	}
	if len(differences) > 0 {
		return fmt.Errorf("%s is not what the SBOM %s says:\n  %s", what, bom.SerialNumber, strings.Join(differences, "\n  "))
	}
	_, err = fmt.Fprintf(w.stdout, "proved: %s holds the %d modules and the standard library that the SBOM %s lists, and no other%s; %s\n",
		what, len(info.Deps), bom.SerialNumber, model, hashed)
	return err
}

// verifyProcess holds what a process of a pod says of its binary against the SBOM.
func (c *sbomVerifyCmd) verifyProcess(w *world, bom *cdx.BOM) error {
	var text bytes.Buffer
	ask := probeCmd{Socket: c.Socket, Timeout: podTimeout, Path: api.PathBuild}
	if err := ask.Run(&world{stdout: &text}); err != nil {
		return err
	}
	var build telemetry.Build
	if err := json.Unmarshal(text.Bytes(), &build); err != nil {
		return fmt.Errorf("cannot read what %s says of its build: %w", c.Socket, err)
	}
	if differences := sidecar.Differences(bom, build); len(differences) > 0 {
		return fmt.Errorf("the process at %s is not what the SBOM %s says:\n  %s", c.Socket, bom.SerialNumber, strings.Join(differences, "\n  "))
	}
	hashed := "the SBOM holds no hash of the binary: the one within it cannot"
	if sbom.FileHash(bom) != "" {
		hashed = "the SHA-256 of its executable is the SBOM's"
	}
	_, err := fmt.Fprintf(w.stdout, "proved: the process at %s is version %s of commit %s, and holds the %d modules and the standard library that the SBOM %s lists, and no other; %s\n",
		c.Socket, build.Version, build.Commit, len(build.Modules), bom.SerialNumber, hashed)
	return err
}

func readSBOM(path string) (*cdx.BOM, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, usage(fmt.Errorf("cannot read the SBOM: %w", err))
	}
	defer f.Close()
	bom, err := sbom.Decode(f)
	if err != nil {
		return nil, usage(fmt.Errorf("cannot read %s: %w", path, err))
	}
	return bom, nil
}

type sbomAffectedCmd struct {
	Package string `arg:"" placeholder:"PURL" help:"Package URL, such as pkg:golang/golang.org/x/text@v0.3.7 or pkg:npm/preact@10.29.2; without a version, any."`
}

func (c *sbomAffectedCmd) Run(w *world) error {
	bom, _, err := ownSBOM()
	if err != nil {
		return err
	}
	found, err := sbom.Affected(bom, c.Package)
	if err != nil {
		return usage(err)
	}
	if len(found) == 0 {
		_, err := fmt.Fprintf(w.stdout, "no: %s is not in this binary (SBOM %s)\n", c.Package, bom.SerialNumber)
		return err
	}
	for _, f := range found {
		if _, err := fmt.Fprintf(w.stdout, "yes: %s %s, SBOM %s\n", f.Name, f.Version, bom.SerialNumber); err != nil {
			return err
		}
	}
	return fmt.Errorf("this binary holds %s", c.Package)
}
