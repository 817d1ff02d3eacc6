package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// policy is sbom/policy.yaml.
type policy struct {
	Allowed     []string     `yaml:"allowed"`
	Denied      []denial     `yaml:"denied"`
	Exceptions  []exception  `yaml:"exceptions"`
	Corrections []correction `yaml:"corrections"`
	Model       model        `yaml:"model"`
}

type denial struct {
	Licence string `yaml:"licence"`
	Reason  string `yaml:"reason"`
}

type exception struct {
	Module  string `yaml:"module"`
	Licence string `yaml:"licence"`
	Reason  string `yaml:"reason"`
	Expires string `yaml:"expires"` // a day, in UTC, the last on which it holds
}

type correction struct {
	Module     string `yaml:"module"` // a pattern of path.Match; its last * takes the rest
	Found      string `yaml:"found"`
	Licence    string `yaml:"licence"`
	TextSHA256 string `yaml:"text_sha256"`
	Reason     string `yaml:"reason"`
}

type model struct {
	Name      string `yaml:"name"`
	File      string `yaml:"file"`
	Version   string `yaml:"version"`
	Supplier  string `yaml:"supplier"`
	URL       string `yaml:"url"`
	Licence   string `yaml:"licence"`
	Copyright string `yaml:"copyright"`
	SHA256    string `yaml:"sha256"`
	SHA512    string `yaml:"sha512"`
}

func readPolicy(file string) (*policy, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	p := new(policy)
	dec := yaml.NewDecoder(bytes.NewReader(b))
	dec.KnownFields(true)
	if err := dec.Decode(p); err != nil {
		return nil, fmt.Errorf("cannot read %s: %w", file, err)
	}
	for _, e := range p.Exceptions {
		if _, err := time.Parse(time.DateOnly, e.Expires); err != nil || e.Module == "" || e.Licence == "" || e.Reason == "" {
			return nil, fmt.Errorf("%s: an exception needs module, licence, reason and expires (such as 2027-01-31): %+v", file, e)
		}
	}
	for _, c := range p.Corrections {
		if c.Found == "" || c.Licence == "" || c.Reason == "" || len(c.TextSHA256) != 64 {
			return nil, fmt.Errorf("%s: a correction needs module, found, licence, text_sha256 and reason: %+v", file, c)
		}
	}
	return p, nil
}

// none is what is found where neither detector finds anything.
const none = "NONE"

// union is what a module is licensed under by either detector, corrected and sorted.
func (p *policy) union(module string, texts []licenceText, found ...[]string) []string {
	all := slices.Concat(found...)
	if len(all) == 0 {
		all = []string{none}
	}
	var out []string
	for _, licence := range all {
		for _, c := range p.Corrections {
			if c.Found == licence && matches(c.Module, module) && slices.ContainsFunc(texts, func(t licenceText) bool { return t.sha256 == c.TextSHA256 }) {
				licence = c.Licence
			}
		}
		if !slices.Contains(out, licence) {
			out = append(out, licence)
		}
	}
	slices.Sort(out)
	return out
}

// check says what is wrong with a module's licences on that day; nil: nothing.
func (p *policy) check(module string, licences []string, now time.Time) error {
	if slices.Contains(licences, none) {
		return fmt.Errorf("%s: neither detector can tell its licence", module)
	}
	var errs []error
	for _, l := range licences {
		if err := p.checkOne(module, l, now); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func (p *policy) checkOne(module, licence string, now time.Time) error {
	for _, e := range p.Exceptions {
		if e.Licence != licence || !matches(e.Module, module) {
			continue
		}
		end, _ := time.Parse(time.DateOnly, e.Expires) // readPolicy has looked
		if now.Before(end.AddDate(0, 0, 1)) {
			return nil
		}
		return fmt.Errorf("%s: the exception for %s ended on %s", module, licence, e.Expires)
	}
	for _, d := range p.Denied {
		if matches(d.Licence, licence) {
			return fmt.Errorf("%s: %s is denied: %s", module, licence, d.Reason)
		}
	}
	if !slices.Contains(p.Allowed, licence) {
		return fmt.Errorf("%s: %s is in no list of sbom/policy.yaml", module, licence)
	}
	return nil
}

// matches is path.Match, with a last * that takes slashes too.
func matches(pattern, name string) bool {
	if head, ok := strings.CutSuffix(pattern, "*"); ok && strings.HasPrefix(name, head) {
		return true
	}
	ok, _ := path.Match(pattern, name)
	return ok
}
