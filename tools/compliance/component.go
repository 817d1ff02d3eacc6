package main

import (
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"

	cdx "github.com/CycloneDX/cyclonedx-go"

	"github.com/semantic-pod/semantic/sbom"
)

// module is one linked module with all that is known of it.
type module struct {
	path, version string
	h1, zip, dir  string
	platforms     []string // that link it
	packageDirs   []string
	found         []string // licences, by cyclonedx-gomod
	reported      []string // licences, by go-licenses
	texts         []licenceText
	licences      []string // the union, corrected
	references    *[]cdx.ExternalReference
}

// download fills in where the module cache has the module, and its checksum.
func (m *module) download(root string) error {
	out, err := runTool(root, platforms[0], "go", "mod", "download", "-json", m.path+"@"+m.version)
	if err != nil {
		return err
	}
	var d struct{ Zip, Dir, Sum string }
	if err := json.Unmarshal(out, &d); err != nil {
		return err
	}
	m.zip, m.dir, m.h1 = d.Zip, d.Dir, d.Sum
	return nil
}

// component is the module in the list.
func (m *module) component() (cdx.Component, error) {
	claims := copyrights(m.texts)
	c := cdx.Component{
		BOMRef: "pkg:golang/" + m.path + "@" + m.version, Type: cdx.ComponentTypeLibrary,
		Name: m.path, Version: m.version, Scope: cdx.ScopeRequired,
		Supplier:           supplier(m.path),
		Authors:            authors(holders(claims)),
		Licenses:           licences(m.licences),
		Copyright:          strings.Join(claims, "\n"),
		ExternalReferences: m.references,
		PackageURL:         "pkg:golang/" + strings.ReplaceAll(m.path+"@"+m.version, "+", "%2B") + "?type=module",
		Evidence:           &cdx.Evidence{Licenses: evidence(m.found, m.reported)},
	}
	hashes, err := hashFile(m.zip)
	if err != nil {
		return c, err
	}
	c.Hashes = hashes
	properties := []cdx.Property{
		{Name: sbom.PropertyH1, Value: m.h1},
		{Name: "semantic:hashes:of", Value: "the module's zip file, as the module cache holds it"},
		{Name: "semantic:supplier:basis", Value: "who publishes the module under its path; nobody was asked"},
	}
	if c.Authors == nil {
		properties = append(properties, cdx.Property{Name: "semantic:author", Value: "unknown: its licence files name nobody"})
	}
	properties = append(properties, cdx.Property{Name: "semantic:cpe", Value: "unknown"})
	if len(m.platforms) != len(platforms) {
		properties = append(properties, cdx.Property{Name: "semantic:platform", Value: m.platforms[0]})
	}
	file := strings.ReplaceAll(m.path, "/", "_") + "@" + m.version + ".zip"
	properties = append(properties, bsi(file, "non-executable", "archive", "structured")...)
	c.Properties = &properties
	return c, nil
}

// bsi are the properties that BSI TR-03183-2 asks for of each component.
func bsi(file, executable, archive, structured string) []cdx.Property {
	return []cdx.Property{
		{Name: "bsi:component:filename", Value: file},
		{Name: "bsi:component:executable", Value: executable},
		{Name: "bsi:component:archive", Value: archive},
		{Name: "bsi:component:structured", Value: structured},
	}
}

// supplier names who publishes a module: the account, or the domain, that owns its path.
func supplier(path string) *cdx.OrganizationalEntity {
	parts := strings.Split(path, "/")
	name := parts[0]
	if (name == "github.com" || name == "gitlab.com") && len(parts) > 1 {
		name += "/" + parts[1]
	}
	return &cdx.OrganizationalEntity{Name: name, URL: &[]string{"https://" + name}}
}

func authors(names []string) *[]cdx.OrganizationalContact {
	if len(names) == 0 {
		return nil
	}
	out := make([]cdx.OrganizationalContact, len(names))
	for i, n := range names {
		out[i].Name = n
	}
	return &out
}

// licences writes the union as one identifier or one expression.
func licences(ids []string) *cdx.Licenses {
	if len(ids) == 1 {
		return &cdx.Licenses{{License: &cdx.License{ID: ids[0], Acknowledgement: cdx.LicenseAcknowledgementConcluded}}}
	}
	return &cdx.Licenses{{Expression: strings.Join(ids, " AND ")}}
}

// evidence keeps what each detector said, before any correction.
func evidence(found ...[]string) *cdx.Licenses {
	var out cdx.Licenses
	seen := map[string]bool{}
	for _, ids := range found {
		for _, id := range ids {
			if !seen[id] {
				out = append(out, cdx.LicenseChoice{License: &cdx.License{ID: id}})
			}
			seen[id] = true
		}
	}
	if out == nil {
		return nil
	}
	return &out
}

// hashFile returns the hashes of a whole file.
func hashFile(path string) (*[]cdx.Hash, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("cannot hash: %w", err)
	}
	defer f.Close()
	h256, h512 := sha256.New(), sha512.New()
	if _, err := io.Copy(io.MultiWriter(h256, h512), f); err != nil {
		return nil, fmt.Errorf("cannot hash %s: %w", path, err)
	}
	return &[]cdx.Hash{
		{Algorithm: cdx.HashAlgoSHA256, Value: hex.EncodeToString(h256.Sum(nil))},
		{Algorithm: cdx.HashAlgoSHA512, Value: hex.EncodeToString(h512.Sum(nil))},
	}, nil
}
