package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	cdx "github.com/CycloneDX/cyclonedx-go"

	"github.com/semantic-pod/semantic/sbom"
)

// The detectors' versions, as tools/sbom/go.mod has them; a test holds them together.
const (
	gomodVersion    = "v1.10.0"
	licensesVersion = "v2.0.1"
)

type noticeCmd struct {
	Root  string `default:"." help:"Folder of the sources."`
	Check bool   `help:"Write nothing: fail if the files are not what would be written."`
}

func (c *noticeCmd) Run() error {
	root, err := filepath.Abs(c.Root)
	if err != nil {
		return err
	}
	files, err := generate(root, time.Now())
	if err != nil {
		return err
	}
	for _, f := range files {
		path := filepath.Join(root, filepath.FromSlash(f.name))
		if !c.Check {
			if err := os.WriteFile(path, f.content, 0o644); err != nil {
				return err
			}
			continue
		}
		have, err := os.ReadFile(path)
		if err != nil || !bytes.Equal(have, f.content) {
			return errors.Join(err, fmt.Errorf("%s is not what the sources and the module cache say; run: make notice", f.name))
		}
	}
	return nil
}

type file struct {
	name    string
	content []byte
}

// generate makes what `make notice` writes, after the licences were held against the policy.
func generate(root string, now time.Time) ([]file, error) {
	p, err := readPolicy(filepath.Join(root, "sbom", "policy.yaml"))
	if err != nil {
		return nil, err
	}
	all, err := detectAll(root)
	if err != nil {
		return nil, err
	}
	web, err := readBundle(root)
	if err != nil {
		return nil, err
	}
	modules, err := gather(root, all)
	if err != nil {
		return nil, err
	}
	std := &module{path: "std"}
	goroot, err := runTool(root, platforms[0], "go", "env", "GOROOT")
	if err != nil {
		return nil, err
	}
	if std.texts, err = licenceTexts(strings.TrimSpace(string(goroot)), nil); err != nil {
		return nil, fmt.Errorf("the standard library: %w", err)
	}
	var errs []error
	for _, m := range append(modules, std) {
		m.licences = p.union(m.path, m.texts, m.found, m.reported)
		errs = append(errs, p.check(m.path, m.licences, now))
	}
	licence, err := modelLicence(filepath.Join(root, filepath.FromSlash(sbom.BuiltinFile)))
	errs = append(errs, err, web.check(p, now), p.check(sbom.BuiltinName, []string{licence}, now), p.check(p.Model.Name, []string{p.Model.Licence}, now))
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("licences are not as sbom/policy.yaml wants them:\n%w", err)
	}
	bom, err := describe(root, modules, std, web, p, all)
	if err != nil {
		return nil, err
	}
	list, err := sbom.Encode(bom, sbom.JSON)
	if err != nil {
		return nil, err
	}
	own, err := os.ReadFile(filepath.Join(root, "LICENSE"))
	if err != nil {
		return nil, err
	}
	return []file{
		{"sbom/components.json", list},
		{"sbom/NOTICE", notice(bom, append(modules, std), web, p.Model, string(own))},
	}, nil
}

// detectAll runs the detectors for each platform.
func detectAll(root string) (map[string]*detected, error) {
	tree, err := os.MkdirTemp("", "compliance")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(tree)
	if err := copyTree(root, tree); err != nil {
		return nil, err
	}
	all := map[string]*detected{}
	for _, platform := range platforms {
		if all[platform], err = detect(root, tree, platform); err != nil {
			return nil, err
		}
	}
	return all, nil
}

const rule = "================================================================================"

// notice writes NOTICE: a table, then each text once, under the names of all that it is of.
func notice(bom *cdx.BOM, modules []*module, web *bundle, m model, own string) []byte {
	var out strings.Builder
	fmt.Fprintf(&out, "Semantic\n%s\n\n", bom.Metadata.Component.Copyright)
	out.WriteString("This product is licensed under the Apache License, Version 2.0 (see LICENSE), and so is the\n" +
		"model " + sbom.BuiltinName + " within it.\n\n" +
		"The binary links these Go modules and the standard library, and the page of its console is\n" +
		"bundled from these npm packages, each under its own licence; it serves by default a model\n" +
		"that is part of neither the binary nor the sources.\n" +
		"Their copyright and licence texts follow. `make notice` writes this file.\n\n")
	for _, c := range *bom.Components {
		fmt.Fprintf(&out, "  %-60s %s\n", strings.TrimSuffix(c.Name+" "+c.Version, " "), sbom.Expression(&c))
	}
	type entry struct {
		of   []string
		text string
	}
	var texts []*entry
	byText := map[string]*entry{}
	add := func(of, text string) {
		e := byText[text]
		if e == nil {
			e = &entry{text: text}
			byText[text] = e
			texts = append(texts, e)
		}
		e.of = append(e.of, of)
	}
	for _, mod := range modules {
		for _, t := range mod.texts {
			add(strings.TrimSuffix(mod.path+" "+mod.version, " ")+": "+t.name, t.text)
		}
	}
	for _, p := range web.Packages {
		add("npm package "+p.Name+" "+p.Version+": "+p.text.name, p.text.text)
	}
	add(sbom.BuiltinName+" by "+sbom.Supplier+": "+ownLicence, tidyText(own))
	add(m.Name+" by "+m.Copyright+": "+m.Licence, tidyText(own)) // Apache-2.0, as ours
	for _, e := range texts {
		fmt.Fprintf(&out, "\n%s\n%s\n\n%s\n", rule, strings.Join(e.of, "\n"), e.text)
	}
	return []byte(out.String())
}
