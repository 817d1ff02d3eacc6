package main

import (
	"encoding/hex"
	"net/url"
	"regexp"
	"strings"

	cdx "github.com/CycloneDX/cyclonedx-go"
)

// ref is the package URL, which is the reference too.
func (p *bundledPackage) ref() string {
	return "pkg:npm/" + strings.Replace(p.Name, "@", "%40", 1) + "@" + p.Version
}

// component is the package in the list.
func (p *bundledPackage) component() cdx.Component {
	file := strings.ReplaceAll(strings.TrimPrefix(p.Name, "@"), "/", "-") + "-" + p.Version + ".tgz"
	claims := copyrights([]licenceText{p.text})
	c := cdx.Component{
		BOMRef: p.ref(), Type: cdx.ComponentTypeLibrary, Name: p.Name, Version: p.Version, Scope: cdx.ScopeRequired,
		Hashes:     &[]cdx.Hash{{Algorithm: cdx.HashAlgoSHA512, Value: hex.EncodeToString(p.archive)}},
		Licenses:   licences([]string{p.Licence}),
		Copyright:  strings.Join(claims, "\n"),
		PackageURL: p.ref(),
		Evidence:   &cdx.Evidence{Licenses: evidence([]string{p.Licence})},
	}
	properties := []cdx.Property{
		{Name: "semantic:hashes:of", Value: "the package's archive " + file + ", as npm's lock file has it"},
		{Name: "semantic:where", Value: "bundled into the console's page, which the binary embeds"},
	}
	note := func(name, value string) { properties = append(properties, cdx.Property{Name: name, Value: value}) }
	if c.Supplier = p.supplier(); c.Supplier != nil {
		note("semantic:supplier:basis", "who has the repository that its package.json names; nobody was asked")
	} else {
		note("semantic:supplier", "unknown: its package.json names no repository")
	}
	if c.Authors = authors([]string{p.Author}); p.Author == "" {
		c.Authors = authors(holders(claims))
	}
	if c.Authors == nil {
		note("semantic:author", "unknown: neither its package.json nor its licence text names anybody")
	}
	note("semantic:cpe", "unknown")
	properties = append(properties, bsi(file, "non-executable", "archive", "structured")...)
	c.Properties = &properties
	var references []cdx.ExternalReference
	if repository := p.repository(); repository != nil {
		references = append(references, cdx.ExternalReference{Type: cdx.ERTypeVCS, URL: repository.String()})
	}
	if p.Homepage != "" {
		references = append(references, cdx.ExternalReference{Type: cdx.ERTypeWebsite, URL: p.Homepage})
	}
	if references != nil {
		c.ExternalReferences = &references
	}
	return c
}

// repository is where the package says that its sources are: a URL, or owner/name at GitHub.
func (p *bundledPackage) repository() *url.URL {
	text := strings.TrimSuffix(strings.TrimPrefix(p.Repository, "git+"), ".git")
	if regexp.MustCompile(`^(github:)?[\w.-]+/[\w.-]+$`).MatchString(text) {
		text = "https://github.com/" + strings.TrimPrefix(text, "github:")
	}
	u, err := url.Parse(text)
	if err != nil || u.Host == "" {
		return nil
	}
	u.Scheme, u.User = "https", nil
	return u
}

func (p *bundledPackage) supplier() *cdx.OrganizationalEntity {
	if u := p.repository(); u != nil {
		return supplier(u.Host + u.Path)
	}
	return nil
}
