package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	cdx "github.com/CycloneDX/cyclonedx-go"

	"github.com/semantic-pod/semantic/sbom"
)

// addFiles makes the list the release's: version 2 of the same serial number, which adds
// what the list within the binary cannot hold.
func addFiles(bom *cdx.BOM, root, platform string, a *artifact) error {
	bom.Version = 2
	whole := bom.Metadata.Component
	var err error
	if whole.Hashes, err = hashFile(a.path); err != nil {
		return err
	}
	for i := range *whole.Properties {
		if p := &(*whole.Properties)[i]; p.Name == "semantic:file:hash" {
			p.Value = "of the file " + a.name
		}
	}
	packages, err := listPackages(root, platform)
	if err != nil {
		return err
	}
	names, err := sourceFiles(root, packages)
	if err != nil {
		return err
	}
	web, err := readBundle(root)
	if err != nil {
		return err
	}
	model, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(sbom.BuiltinFile)))
	if err != nil {
		return err
	}
	if err := web.missing(bom); err != nil {
		return fmt.Errorf("the console's page is not what sbom/components.json says; run: make notice\n%w", err)
	}
	if diff := sbom.CompareBuiltin(bom, model); diff != "" {
		return fmt.Errorf("%s; run: make notice", diff)
	}
	within := (*bom.Compositions)[0].Assemblies
	var refs []string
	for _, name := range names {
		c, err := fileComponent(root, name, whole)
		if err != nil {
			return err
		}
		needs := addBundled(&c, web.of(name))
		*bom.Components = append(*bom.Components, c)
		*bom.Dependencies = append(*bom.Dependencies, cdx.Dependency{Ref: c.BOMRef, Dependencies: needs})
		*within = append(*within, cdx.BOMReference(c.BOMRef))
		refs = append(refs, c.BOMRef)
	}
	for _, d := range *bom.Dependencies {
		if d.Ref == whole.BOMRef {
			*d.Dependencies = append(*d.Dependencies, refs...)
		}
	}
	return nil
}

// addBundled names the packages within a file of the console's page: as what it leans on,
// and by their licences and copyrights.
func addBundled(c *cdx.Component, packages []*bundledPackage) *[]string {
	if len(packages) == 0 {
		return nil
	}
	ids := []string{sbom.Expression(c)}
	var refs []string
	for _, p := range packages {
		refs = append(refs, p.ref())
		ids = appendNew(ids, p.Licence)
		for _, claim := range copyrights([]licenceText{p.text}) {
			c.Copyright += "\n" + claim
		}
	}
	c.Licenses = licences(ids)
	return &refs
}

// fileComponent is an embedded file or an assembly source of ours.
func fileComponent(root, name string, whole *cdx.Component) (cdx.Component, error) {
	what, structured := "embedded", "unstructured"
	if strings.HasSuffix(name, ".s") || strings.HasSuffix(name, ".h") {
		what = "assembly kernel"
	}
	if strings.HasSuffix(name, ".s") {
		structured = "structured"
	}
	properties := append([]cdx.Property{{Name: "semantic:kind", Value: what}},
		bsi(filepath.Base(name), "non-executable", "no archive", structured)...)
	hashes, err := hashFile(filepath.Join(root, filepath.FromSlash(name)))
	return cdx.Component{
		BOMRef: whole.BOMRef + "#" + name, Type: cdx.ComponentTypeFile, Name: name, Version: whole.Version, Scope: cdx.ScopeRequired,
		Supplier: whole.Supplier, Authors: whole.Authors, Hashes: hashes, Licenses: whole.Licenses, Copyright: whole.Copyright,
		PackageURL: "pkg:golang/" + sbom.Module + "@" + strings.ReplaceAll(whole.Version, "+", "%2B") + "#" + name,
		Properties: &properties,
	}, err
}
