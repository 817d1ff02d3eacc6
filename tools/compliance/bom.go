package main

import (
	"cmp"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	cdx "github.com/CycloneDX/cyclonedx-go"

	"github.com/semantic-pod/semantic/sbom"
)

const (
	ownRef   = "pkg:golang/" + sbom.Module
	stdRef   = "pkg:golang/std"
	modelRef = "model"
)

// gather joins what was detected for each platform.
func gather(root string, all map[string]*detected) ([]*module, error) {
	modules := map[string]*module{}
	for _, platform := range platforms {
		d := all[platform]
		for _, c := range *d.bom.Components {
			if c.Name == "std" {
				continue
			}
			m := modules[c.Name]
			if m == nil {
				m = &module{path: c.Name, version: c.Version, references: c.ExternalReferences}
				modules[c.Name] = m
			}
			m.platforms = append(m.platforms, platform)
			if c.Evidence != nil && c.Evidence.Licenses != nil {
				for _, l := range *c.Evidence.Licenses {
					m.found = appendNew(m.found, l.License.ID)
				}
			}
			m.reported = appendNew(m.reported, d.licences[c.Name]...)
			for _, p := range d.packages {
				if p.Module != nil && p.Module.Path == c.Name {
					m.packageDirs = appendNew(m.packageDirs, p.Dir)
				}
			}
		}
	}
	out := make([]*module, 0, len(modules))
	for _, m := range modules {
		if err := m.download(root); err != nil {
			return nil, err
		}
		var err error
		if m.texts, err = licenceTexts(m.dir, m.packageDirs); err != nil {
			return nil, err
		}
		slices.Sort(m.found)
		slices.Sort(m.reported)
		out = append(out, m)
	}
	slices.SortFunc(out, func(a, b *module) int { return cmp.Compare(a.path, b.path) })
	return out, nil
}

func appendNew[T comparable](to []T, more ...T) []T {
	for _, v := range more {
		if !slices.Contains(to, v) {
			to = append(to, v)
		}
	}
	return to
}

// describe writes the list whose versions the binary fills in.
func describe(root string, modules []*module, std *module, web *bundle, p *policy, all map[string]*detected) (*cdx.BOM, error) {
	bom := cdx.NewBOM()
	bom.Metadata = metadata(web.bundler)
	list := []cdx.Component{}
	for _, m := range modules {
		c, err := m.component()
		if err != nil {
			return nil, err
		}
		list = append(list, c)
	}
	builtin, err := builtinComponent(root, bom.Metadata)
	if err != nil {
		return nil, err
	}
	list = append(list, web.components()...)
	list = append(list, standardLibrary(std), builtin, modelComponent(p.Model))
	bom.Components = &list
	dependencies, err := graph(all, web)
	if err != nil {
		return nil, err
	}
	bom.Dependencies = &dependencies
	bom.Compositions = compositions(list)
	return bom, nil
}

func metadata(bundler string) *cdx.Metadata {
	us := &cdx.OrganizationalEntity{Name: sbom.Supplier, URL: &[]string{"https://" + sbom.Module}}
	properties := append([]cdx.Property{
		{Name: "semantic:file:hash", Value: "in the release's SBOM: this list lies within the file"},
		{Name: "semantic:cpe", Value: "none was assigned"},
	}, bsi("semantic", "executable", "no archive", "structured")...)
	tool := func(name, version, owner string) cdx.Component {
		return cdx.Component{Type: cdx.ComponentTypeApplication, Name: name, Version: version,
			ExternalReferences: &[]cdx.ExternalReference{{Type: cdx.ERTypeVCS, URL: "https://github.com/" + owner + "/" + name}}}
	}
	return &cdx.Metadata{
		Lifecycles:   &[]cdx.Lifecycle{{Phase: cdx.LifecyclePhaseBuild}},
		Tools:        &cdx.ToolsChoice{Components: &[]cdx.Component{tool("cyclonedx-gomod", gomodVersion, "CycloneDX"), tool("go-licenses", licensesVersion, "google"), tool("vite", bundler, "vitejs")}},
		Authors:      &[]cdx.OrganizationalContact{{Name: sbom.Supplier}},
		Manufacturer: us,
		Supplier:     us,
		Licenses:     &cdx.Licenses{{License: &cdx.License{ID: "CC0-1.0"}}}, // of the list itself
		Component: &cdx.Component{
			BOMRef: ownRef, Type: cdx.ComponentTypeApplication, Name: sbom.Module,
			Description:        "Proxy, engine and sidecar around LLM inference, in one binary",
			Supplier:           us,
			Manufacturer:       us,
			Authors:            &[]cdx.OrganizationalContact{{Name: sbom.Supplier}},
			Licenses:           licences([]string{ownLicence}),
			Copyright:          "Copyright 2026 The Semantic Authors",
			ExternalReferences: &[]cdx.ExternalReference{{Type: cdx.ERTypeVCS, URL: "https://" + sbom.Module}},
			Properties:         &properties,
		},
	}
}

func standardLibrary(m *module) cdx.Component {
	claims := copyrights(m.texts)
	properties := append([]cdx.Property{
		{Name: "semantic:hashes", Value: "unknown: it is compiled from the toolchain's sources, which are no one file"},
		{Name: "semantic:supplier:basis", Value: "the copyright line of its licence"},
	}, bsi("std", "non-executable", "no archive", "structured")...)
	return cdx.Component{
		BOMRef: stdRef, Type: cdx.ComponentTypeLibrary, Name: "std", Scope: cdx.ScopeRequired,
		Description: "The Go standard library and runtime, with the golang.org/x packages that it carries",
		Supplier:    &cdx.OrganizationalEntity{Name: "The Go Authors", URL: &[]string{"https://go.dev"}},
		Authors:     authors(holders(claims)), Licenses: licences(m.licences), Copyright: strings.Join(claims, "\n"),
		ExternalReferences: &[]cdx.ExternalReference{{Type: cdx.ERTypeVCS, URL: "https://go.googlesource.com/go"}},
		Properties:         &properties,
	}
}

func modelComponent(m model) cdx.Component {
	properties := append([]cdx.Property{
		{Name: "semantic:where", Value: "beside the binary, in no part of it; fetched by make model"},
	}, bsi(m.File, "non-executable", "no archive", "structured")...)
	return cdx.Component{
		BOMRef: modelRef, Type: cdx.ComponentTypeMachineLearningModel, Name: m.Name, Version: m.Version, Scope: cdx.ScopeOptional,
		Supplier:  &cdx.OrganizationalEntity{Name: m.Supplier, URL: &[]string{m.URL}},
		Authors:   &[]cdx.OrganizationalContact{{Name: m.Supplier}},
		Hashes:    &[]cdx.Hash{{Algorithm: cdx.HashAlgoSHA256, Value: m.SHA256}, {Algorithm: cdx.HashAlgoSHA512, Value: m.SHA512}},
		Licenses:  licences([]string{m.Licence}),
		Copyright: m.Copyright, PackageURL: fmt.Sprintf("pkg:generic/%s@%s?checksum=sha256:%s", m.Name, m.Version, m.SHA256),
		ExternalReferences: &[]cdx.ExternalReference{{Type: cdx.ERTypeWebsite, URL: m.URL}},
		Properties:         &properties,
	}
}

// graph joins the platforms' dependency graphs, under our references.
func graph(all map[string]*detected, web *bundle) ([]cdx.Dependency, error) {
	edges := map[string][]string{modelRef: nil, sbom.BuiltinRef: nil}
	web.edges(edges)
	for _, platform := range platforms {
		bom := all[platform].bom
		rename := map[string]string{bom.Metadata.Component.BOMRef: ownRef}
		for _, c := range *bom.Components {
			rename[c.BOMRef] = "pkg:golang/" + c.Name + "@" + c.Version
			if c.Name == "std" {
				rename[c.BOMRef] = stdRef
			}
		}
		for _, d := range *bom.Dependencies {
			from, ok := rename[d.Ref]
			if !ok {
				return nil, fmt.Errorf("the dependency graph names %s, which is no component", d.Ref)
			}
			edges[from] = appendNew(edges[from])
			if d.Dependencies == nil {
				continue
			}
			for _, to := range *d.Dependencies {
				edges[from] = appendNew(edges[from], rename[to])
			}
		}
	}
	out := make([]cdx.Dependency, 0, len(edges))
	for from, to := range edges {
		d := cdx.Dependency{Ref: from}
		switch {
		case from == ownRef:
			to = appendNew(to, modelRef, sbom.BuiltinRef)
		case from != stdRef && strings.HasPrefix(from, "pkg:golang/"):
			to = appendNew(to, stdRef) // which only the whole's edge tells
		}
		slices.Sort(to)
		if len(to) > 0 {
			d.Dependencies = &to
		}
		out = append(out, d)
	}
	slices.SortFunc(out, func(a, b cdx.Dependency) int { return cmp.Compare(a.Ref, b.Ref) })
	return out, nil
}

// compositions say how much is known: all that is linked, and no more.
func compositions(list []cdx.Component) *[]cdx.Composition {
	whole := []cdx.BOMReference{ownRef}
	linked := []cdx.BOMReference{ownRef}
	var within []cdx.BOMReference
	for _, c := range list {
		within = append(within, cdx.BOMReference(c.BOMRef))
		if c.BOMRef != stdRef && c.BOMRef != modelRef {
			linked = append(linked, cdx.BOMReference(c.BOMRef))
		}
	}
	return &[]cdx.Composition{
		{BOMRef: "composition-linked", Aggregate: cdx.CompositionAggregateComplete, Assemblies: &whole, Dependencies: &linked},
		{BOMRef: "composition-copied-code", Aggregate: cdx.CompositionAggregateUnknown, Assemblies: &within}, // code that they copied from elsewhere
		{BOMRef: "composition-untold", Aggregate: cdx.CompositionAggregateUnknown, Dependencies: &[]cdx.BOMReference{stdRef, modelRef}},
	}
}

// sourceFiles are the embedded files and the assembly of our own packages, of one platform,
// without the built-in model, which is a component of its own.
func sourceFiles(root string, packages []goPackage) ([]string, error) {
	var out []string
	for _, p := range packages {
		if p.Module == nil || !p.Module.Main || strings.HasSuffix(p.ImportPath, "/sbom") {
			continue
		}
		for _, name := range slices.Concat(p.EmbedFiles, p.SFiles, p.HFiles) {
			rel, err := filepath.Rel(root, filepath.Join(p.Dir, name))
			if err != nil {
				return nil, err
			}
			if name := filepath.ToSlash(rel); name != sbom.BuiltinFile {
				out = append(out, name)
			}
		}
	}
	slices.Sort(out)
	return out, nil
}
