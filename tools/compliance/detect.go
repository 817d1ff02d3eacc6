package main

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	cdx "github.com/CycloneDX/cyclonedx-go"
)

// platforms are those that a release is built for.
var platforms = []string{"linux/amd64", "linux/arm64"}

// mainPackage is what is released.
const mainPackage = "./cmd/semantic"

// runTool runs a program for one platform and returns what it printed.
func runTool(dir, platform, name string, args ...string) ([]byte, error) {
	cmd := exec.Command(name, args...)
	var stderr bytes.Buffer
	cmd.Dir, cmd.Stderr = dir, &stderr
	system, arch, _ := strings.Cut(platform, "/")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS="+system, "GOARCH="+arch, "GIT_COMMITTER_DATE="+copyDate)
	out, err := cmd.Output()
	if errors.Is(err, exec.ErrNotFound) || errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w; run: make compliance-tools", err)
	}
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w\n%s", filepath.Base(name), strings.Join(args, " "), err, stderr.Bytes())
	}
	return out, nil
}

// detected is what the two detectors found for one platform.
type detected struct {
	bom      *cdx.BOM            // cyclonedx-gomod's
	licences map[string][]string // module → what go-licenses says of its linked packages
	packages []goPackage
}

// goPackage is one linked package, as go list tells of it.
type goPackage struct {
	ImportPath string
	Dir        string
	Standard   bool
	Module     *struct {
		Path, Version, Dir string
		Main               bool
	}
	EmbedFiles, SFiles, HFiles []string
}

// detect runs both detectors over a copy of the tree.
func detect(root, tree, platform string) (*detected, error) {
	d := new(detected)
	var err error
	if d.packages, err = listPackages(root, platform); err != nil {
		return nil, err
	}
	out, err := runTool(tree, platform, filepath.Join(root, ".tools", "cyclonedx-gomod"),
		"app", "-json", "-licenses", "-std", "-noserial", "-notimestamp", "-main", "cmd/semantic", ".")
	if err != nil {
		return nil, err
	}
	d.bom = new(cdx.BOM)
	if err := cdx.NewBOMDecoder(bytes.NewReader(out), cdx.BOMFileFormatJSON).Decode(d.bom); err != nil {
		return nil, fmt.Errorf("cannot read what cyclonedx-gomod wrote: %w", err)
	}
	out, err = runTool(root, platform, filepath.Join(root, ".tools", "go-licenses"), "report", mainPackage)
	if err != nil {
		return nil, err
	}
	d.licences, err = readReport(out, d.packages)
	return d, err
}

func listPackages(root, platform string) ([]goPackage, error) {
	out, err := runTool(root, platform, "go", "list", "-deps", "-json=ImportPath,Dir,Standard,Module,EmbedFiles,SFiles,HFiles", mainPackage)
	if err != nil {
		return nil, err
	}
	var all []goPackage
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p goPackage
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return all, nil
		} else if err != nil {
			return nil, err
		}
		all = append(all, p)
	}
}

// readReport groups the lines "library,URL,licence" by module. A library is a folder
// with a licence file, named as a package.
func readReport(report []byte, packages []goPackage) (map[string][]string, error) {
	modules := map[string]bool{}
	for _, p := range packages {
		if p.Module != nil {
			modules[p.Module.Path] = true
		}
	}
	rows, err := csv.NewReader(bytes.NewReader(report)).ReadAll()
	if err != nil {
		return nil, fmt.Errorf("cannot read what go-licenses wrote: %w", err)
	}
	out := map[string][]string{}
	for _, row := range rows {
		module := row[0]
		for !modules[module] {
			up := strings.LastIndexByte(module, '/')
			if up < 0 {
				return nil, fmt.Errorf("go-licenses names %s, which is of no linked module", row[0])
			}
			module = module[:up]
		}
		if !slices.Contains(out[module], row[2]) {
			out[module] = append(out[module], row[2])
		}
	}
	return out, nil
}

// notOurs are the top level's folders that are no part of the sources.
var notOurs = []string{".git", ".tools", "bin", "models", "dist", "bench", "run"}

// copyDate is the time of the copy's one commit, so that every copy's is the same.
const copyDate = "2026-01-01T00:00:00Z"

// copyTree copies the sources into a repository of their own with one commit, since
// cyclonedx-gomod asks for one and a checkout need not be whole.
func copyTree(root, to string) error {
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		switch {
		case slices.Contains(notOurs, rel) || d.Name() == "node_modules":
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		case d.IsDir():
			return os.MkdirAll(filepath.Join(to, rel), 0o755)
		case !d.Type().IsRegular():
			return nil
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, rel), b, 0o644)
	})
	if err != nil {
		return fmt.Errorf("cannot copy the sources: %w", err)
	}
	for _, args := range [][]string{
		{"init", "-q", "-b", "main"}, {"add", "-A"},
		{"-c", "user.name=compliance", "-c", "user.email=compliance@localhost", "-c", "commit.gpgsign=false",
			"commit", "-q", "-m", "sources", "--date", copyDate},
	} {
		if _, err := runTool(to, platforms[0], "git", args...); err != nil {
			return err
		}
	}
	return nil
}
