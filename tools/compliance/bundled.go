package main

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	cdx "github.com/CycloneDX/cyclonedx-go"
)

// The console's sources, and the folder of its bundle, which the binary embeds.
const (
	webDir  = "sidecar/console/web"
	distDir = "sidecar/console/dist"
)

// bundle is what bundled.json says of the console's bundle; "make console" writes it of the
// modules that the bundler put into each file.
type bundle struct {
	Files    []bundledFile    `json:"files"`
	Packages []bundledPackage `json:"packages"`
	bundler  string           // version of vite
}

type bundledFile struct {
	Name     string   `json:"name"` // below distDir
	SHA256   string   `json:"sha256"`
	Packages []string `json:"packages"`
}

// bundledPackage is one npm package, by its own package.json; then by the lock file.
type bundledPackage struct {
	Name       string `json:"name"`
	Version    string `json:"version"`
	Licence    string `json:"licence"`
	Author     string `json:"author"` // "": it names nobody
	Homepage   string `json:"homepage"`
	Repository string `json:"repository"`

	archive      []byte // SHA-512 of its .tgz
	dependencies []string
	text         licenceText
}

// lockFile is what matters of package-lock.json.
type lockFile struct {
	Packages map[string]struct {
		Version      string            `json:"version"`
		Integrity    string            `json:"integrity"`
		Licence      string            `json:"license"`
		Dev          bool              `json:"dev"`
		Dependencies map[string]string `json:"dependencies"`
	} `json:"packages"`
}

// readBundle reads what the console's bundle is made of. It fails unless bundled.json, the
// lock file, the licence texts and the files that are embedded tell of the same.
func readBundle(root string) (*bundle, error) {
	web := filepath.Join(root, filepath.FromSlash(webDir))
	b, lock := new(bundle), new(lockFile)
	for name, into := range map[string]any{"bundled.json": b, "package-lock.json": lock} {
		text, err := os.ReadFile(filepath.Join(web, name))
		if err == nil {
			err = json.Unmarshal(text, into)
		}
		if err != nil {
			return nil, fmt.Errorf("cannot read %s/%s; run: make console: %w", webDir, name, err)
		}
	}
	b.bundler = lock.Packages["node_modules/vite"].Version
	err := errors.Join(b.holdAgainstFiles(root), b.holdAgainstLock(lock), b.readTexts(web))
	if err != nil {
		return nil, fmt.Errorf("the console's bundle is not what %s says; run: make console\n%w", webDir, err)
	}
	return b, nil
}

// holdAgainstFiles compares the bundle with the files that the binary embeds.
func (b *bundle) holdAgainstFiles(root string) error {
	dist := filepath.Join(root, filepath.FromSlash(distDir))
	listed := map[string]string{}
	for _, f := range b.Files {
		listed[f.Name] = f.SHA256
	}
	var errs []error
	err := filepath.WalkDir(dist, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dist, path)
		if err != nil {
			return err
		}
		name, sum := filepath.ToSlash(rel), sha256.Sum256(content)
		if listed[name] != hex.EncodeToString(sum[:]) {
			errs = append(errs, fmt.Errorf("%s/%s is not the file whose packages bundled.json lists", distDir, name))
		}
		delete(listed, name)
		return nil
	})
	for name := range listed {
		errs = append(errs, fmt.Errorf("bundled.json lists %s, and %s does not hold it", name, distDir))
	}
	return errors.Join(append(errs, err)...)
}

// holdAgainstLock wants the bundled packages to be the lock file's that are not for
// development alone, and takes of them what only it knows.
func (b *bundle) holdAgainstLock(lock *lockFile) error {
	var errs []error
	left := map[string]bool{}
	for path, p := range lock.Packages {
		if path != "" && !p.Dev {
			left[path] = true
		}
	}
	for i := range b.Packages {
		p := &b.Packages[i]
		path := "node_modules/" + p.Name
		locked := lock.Packages[path]
		sum, isSHA512 := strings.CutPrefix(locked.Integrity, "sha512-")
		var err error
		p.archive, err = base64.StdEncoding.DecodeString(sum)
		switch {
		case !left[path]:
			errs = append(errs, fmt.Errorf("%s is bundled, and is no dependency of package-lock.json", p.Name))
		case p.Version != locked.Version:
			errs = append(errs, fmt.Errorf("%s %s is bundled, package-lock.json has %s", p.Name, p.Version, locked.Version))
		case p.Licence != locked.Licence:
			errs = append(errs, fmt.Errorf("%s says that its licence is %q, package-lock.json has %q", p.Name, p.Licence, locked.Licence))
		case err != nil || !isSHA512 || len(p.archive) != 64:
			errs = append(errs, fmt.Errorf("package-lock.json has no SHA-512 of %s: %q", p.Name, locked.Integrity))
		}
		for name := range locked.Dependencies {
			p.dependencies = append(p.dependencies, name)
		}
		delete(left, path)
	}
	for path := range left {
		errs = append(errs, fmt.Errorf("package-lock.json has %s as a dependency, and the bundle holds nothing of it", path))
	}
	return errors.Join(errs...)
}

func (b *bundle) readTexts(web string) error {
	var errs []error
	for i := range b.Packages {
		p := &b.Packages[i]
		name := strings.ReplaceAll(p.Name, "/", "__") + ".txt"
		text, err := os.ReadFile(filepath.Join(web, "LICENSES", name))
		if err == nil && strings.TrimSpace(string(text)) == "" {
			err = errors.New("it is empty")
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("there is no licence text of %s: %w", p.Name, err))
			continue
		}
		sum := sha256.Sum256(text)
		p.text = licenceText{name: name, text: tidyText(string(text)), sha256: hex.EncodeToString(sum[:])}
	}
	return errors.Join(errs...)
}

// check holds the packages' licences against the policy, and each against its text.
func (b *bundle) check(p *policy, now time.Time) error {
	var errs []error
	for _, pkg := range b.Packages {
		name := "npm package " + pkg.Name
		if pkg.Licence == "" {
			errs = append(errs, fmt.Errorf("%s: it does not tell its licence", name))
			continue
		}
		errs = append(errs, p.checkOne(pkg.ref(), pkg.Licence, now))
		if grant, known := grants[pkg.Licence]; known && !grant.MatchString(pkg.text.text) {
			errs = append(errs, fmt.Errorf("%s: it says that its licence is %s, and its text is another", name, pkg.Licence))
		}
	}
	return errors.Join(errs...)
}

// grants are words that the texts of licences have.
var grants = map[string]*regexp.Regexp{
	"Apache-2.0":   regexp.MustCompile(`Apache License\s+Version 2\.0`),
	"BSD-2-Clause": regexp.MustCompile(`Redistribution and use in source and binary forms`),
	"BSD-3-Clause": regexp.MustCompile(`Redistribution and use in source and binary forms[\s\S]*Neither the name`),
	"ISC":          regexp.MustCompile(`Permission to use, copy, modify,\s+and/or\s+distribute this`),
	"MIT":          regexp.MustCompile(`Permission is hereby granted, free of charge, to any person`),
}

// missing says what of the packages a list does not have as it is.
func (b *bundle) missing(bom *cdx.BOM) error {
	var errs []error
	for _, want := range b.components() {
		at := slices.IndexFunc(*bom.Components, func(c cdx.Component) bool { return c.PackageURL == want.PackageURL })
		if at < 0 {
			errs = append(errs, fmt.Errorf("%s is bundled and not in the SBOM", want.PackageURL))
			continue
		}
		have, err := json.Marshal((*bom.Components)[at])
		made, err2 := json.Marshal(want)
		if errs = append(errs, err, err2); !bytes.Equal(have, made) {
			errs = append(errs, fmt.Errorf("the SBOM says of %s\n%s\nand the bundle\n%s", want.PackageURL, have, made))
		}
	}
	for _, c := range *bom.Components {
		if strings.HasPrefix(c.PackageURL, "pkg:npm/") && !slices.ContainsFunc(b.Packages, func(p bundledPackage) bool { return p.ref() == c.PackageURL }) {
			errs = append(errs, fmt.Errorf("%s is in the SBOM and not bundled", c.PackageURL))
		}
	}
	return errors.Join(errs...)
}

// of lists the packages within an embedded file.
func (b *bundle) of(file string) []*bundledPackage {
	name, ok := strings.CutPrefix(file, distDir+"/")
	if !ok {
		return nil
	}
	var out []*bundledPackage
	for _, f := range b.Files {
		for i := range b.Packages {
			if f.Name == name && slices.Contains(f.Packages, b.Packages[i].Name) {
				out = append(out, &b.Packages[i])
			}
		}
	}
	return out
}

// edges adds the packages, and on what they lean, to a dependency graph.
func (b *bundle) edges(graph map[string][]string) {
	refs := map[string]string{}
	for i := range b.Packages {
		refs[b.Packages[i].Name] = b.Packages[i].ref()
	}
	for i := range b.Packages {
		p := &b.Packages[i]
		graph[ownRef] = appendNew(graph[ownRef], p.ref())
		graph[p.ref()] = nil
		for _, name := range p.dependencies {
			if refs[name] != "" { // all that are bundled are in the lock file, and no other
				graph[p.ref()] = appendNew(graph[p.ref()], refs[name])
			}
		}
	}
}

func (b *bundle) components() []cdx.Component {
	out := make([]cdx.Component, len(b.Packages))
	for i := range b.Packages {
		out[i] = b.Packages[i].component()
	}
	slices.SortFunc(out, func(a, b cdx.Component) int { return cmp.Compare(a.Name, b.Name) })
	return out
}
