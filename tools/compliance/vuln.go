package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	cdx "github.com/CycloneDX/cyclonedx-go"

	"github.com/semantic-pod/semantic/sbom"
	"github.com/semantic-pod/semantic/tools/compliance/vex"
)

type vulnCmd struct {
	Root     string `default:"." help:"Folder of the sources."`
	Binary   string `required:"" help:"Binary built from them, whose SBOM the document refers to."`
	Database string `env:"GOVULNDB" help:"Folder or URL (http, https, file) in the layout of the Go vulnerability database."`
	Out      string `required:"" help:"CycloneDX VEX document to write."`
	Required bool   `help:"Fail if there is no database, or if a vulnerability can be reached."`
}

func (c *vulnCmd) Run() error {
	root, err := filepath.Abs(c.Root)
	if err != nil {
		return err
	}
	binary, err := filepath.Abs(c.Binary)
	if err != nil {
		return err
	}
	list, err := runTool(root, runtime.GOOS+"/"+runtime.GOARCH, binary, "sbom", "show")
	if err != nil {
		return err
	}
	bom, err := sbom.Decode(bytes.NewReader(list))
	if err != nil {
		return err
	}
	copied, err := os.MkdirTemp("", "vuln")
	if err != nil {
		return err
	}
	defer os.RemoveAll(copied)
	return c.assess(vex.Question{
		Govulncheck: filepath.Join(root, ".tools", "govulncheck"), Root: copied,
		Env: []string{"CGO_ENABLED=0"}, Database: c.Database, SBOM: bom,
		Prepare: func() ([]string, error) { return openSources(root, copied) },
	})
}

// openSources copies the sources, so that all which our linked packages export, the
// methods of the subcommands too, are entries of the analysis. It returns the packages.
func openSources(root, to string) ([]string, error) {
	all, err := listPackages(root, runtime.GOOS+"/"+runtime.GOARCH)
	if err != nil {
		return nil, err
	}
	var ours []string
	for _, p := range all {
		if p.Module != nil && p.Module.Main {
			ours = append(ours, p.ImportPath)
		}
	}
	if err := copyTree(root, to); err != nil {
		return nil, err
	}
	return ours, vex.OpenEntries(filepath.Join(to, filepath.FromSlash(mainPackage)))
}

// assess writes the document. Without a database there is none: an older one would pass
// for what holds today.
func (c *vulnCmd) assess(q vex.Question) error {
	answer, err := vex.Assess(context.Background(), q)
	if errors.Is(err, vex.ErrNoDatabase) {
		if err := os.Remove(c.Out); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if c.Required {
			return fmt.Errorf("vulnerabilities are required to be assessed: %w", err)
		}
		fmt.Printf("vulnerabilities were NOT assessed: %v; VULN_REQUIRED=1 makes this a failure\n", err)
		return nil
	}
	if err != nil {
		return err
	}
	b, err := sbom.Encode(answer.Document, sbom.JSON)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(c.Out), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(c.Out, b, 0o644); err != nil {
		return err
	}
	for _, v := range *answer.Document.Vulnerabilities {
		fmt.Println(verdict(v))
	}
	fmt.Printf("%d known vulnerabilities, %d of them reachable: %s\n", len(*answer.Document.Vulnerabilities), len(answer.Reachable), c.Out)
	if c.Required && len(answer.Reachable) > 0 {
		return fmt.Errorf("reachable: %s", strings.Join(answer.Reachable, ", "))
	}
	return nil
}

func verdict(v cdx.Vulnerability) string {
	words := []string{v.ID, string(v.Analysis.State), string(v.Analysis.Justification)}
	return strings.TrimSpace(strings.Join(words, " ")) + ": " + v.Analysis.Detail
}
