package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/semantic-pod/semantic/sbom"
)

func day(t *testing.T, s string) time.Time {
	t.Helper()
	d, err := time.Parse(time.DateOnly, s)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestPolicyJudgesEveryLicence(t *testing.T) {
	p, err := readPolicy("../../sbom/policy.yaml")
	if err != nil {
		t.Fatal(err)
	}
	p.Exceptions = []exception{{Module: "example.org/copyleft/*", Licence: "MPL-2.0", Reason: "a test", Expires: "2026-06-30"}}
	for _, c := range []struct {
		module   string
		licences []string
		on, want string // "" allows
	}{
		{"example.org/a", []string{"MIT"}, "2026-01-01", ""},
		{"example.org/a", []string{"MIT", "Apache-2.0"}, "2026-01-01", ""},
		{"example.org/a", []string{"MIT", "GPL-3.0-only"}, "2026-01-01", "GPL-3.0-only is denied"},
		{"example.org/a", []string{"AGPL-3.0-or-later"}, "2026-01-01", "is denied"},
		{"example.org/a", []string{"MPL-2.0"}, "2026-01-01", "in no list"},
		{"example.org/a", []string{none}, "2026-01-01", "neither detector"},
		{"example.org/copyleft/x", []string{"MPL-2.0"}, "2026-06-30", ""},
		{"example.org/copyleft/x", []string{"MPL-2.0"}, "2026-07-01", "ended on 2026-06-30"},
	} {
		err := p.check(c.module, c.licences, day(t, c.on))
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s under %v on %s: %v, expected %q", c.module, c.licences, c.on, err, c.want)
		}
	}
}

func TestCorrectionHoldsForItsTextAlone(t *testing.T) {
	p, err := readPolicy("../../sbom/policy.yaml")
	if err != nil {
		t.Fatal(err)
	}
	same := []licenceText{{sha256: p.Corrections[0].TextSHA256}}
	if got := p.union("golang.org/x/text", same, []string{"BSD-Source-Code"}, []string{"BSD-3-Clause"}); len(got) != 1 || got[0] != "BSD-3-Clause" {
		t.Errorf("the union is %v", got)
	}
	if got := p.union("golang.org/x/text", []licenceText{{sha256: "other"}}, []string{"BSD-Source-Code"}); got[0] != "BSD-Source-Code" {
		t.Errorf("another text was corrected to %v", got)
	}
	if got := p.union("example.org/a", nil, nil, nil); got[0] != none {
		t.Errorf("nothing was found, and the union is %v", got)
	}
}

func TestPolicyRefusesMistakes(t *testing.T) {
	for _, text := range []string{
		"allowd: [MIT]\n",
		"exceptions: [{module: a, licence: b, reason: c, expires: soon}]\n",
		"exceptions: [{module: a, licence: b, expires: 2027-01-01}]\n",
		"corrections: [{module: a, found: b, licence: c, reason: d}]\n",
	} {
		path := filepath.Join(t.TempDir(), "policy.yaml")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := readPolicy(path); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestChangelogAndTagAndVersionAreOne(t *testing.T) {
	for _, c := range []struct {
		name, changelog, tag, version string
		want                          string // "" agrees
	}{
		{"all agree", "## [Unreleased]\n\n## [1.2.0] - 2026-05-01\n### Added\n- x\n", "v1.2.0", "1.2.0", ""},
		{"no tag, no claim", "## [Unreleased]\n", "", "v0.0.0-20260101000000-abcdef", ""},
		{"no tag, but a claim", "## [Unreleased]\n", "", "1.3.0", "no newest entry"},
		{"another version", "## [1.2.0] - 2026-05-01\n", "v1.2.0", "1.1.0", "they must be one"},
		{"no entry", "## [Unreleased]\n\n## [1.1.0] - 2026-05-01\n", "v1.2.0", "1.2.0", "they must be one"},
		{"no date", "## [1.2.0]\n", "v1.2.0", "1.2.0", "a release is"},
		{"no version", "## [next] - 2026-05-01\n", "", "devel", "a release is"},
		{"wrong order", "## [1.1.0] - 2026-01-01\n## [1.2.0] - 2026-05-01\n", "", "devel", "newest first"},
		{"unknown group", "## [Unreleased]\n### Improved\n", "", "devel", "a group is"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, "CHANGELOG.md"), []byte(c.changelog), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := copyTree(dir, dir); err != nil {
				t.Fatal(err)
			}
			if c.tag != "" {
				if _, err := runTool(dir, platforms[0], "git", "tag", c.tag); err != nil {
					t.Fatal(err)
				}
			}
			err := checkRelease(dir, sbom.Build{Version: c.version})
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, expected %q", err, c.want)
			}
		})
	}
}

// TestTimeIsNeverTheClocks takes SOURCE_DATE_EPOCH before what the binary was stamped with.
func TestTimeIsNeverTheClocks(t *testing.T) {
	stamped := day(t, "2026-05-01")
	for _, c := range []struct{ epoch, want string }{
		{"", "2026-05-01T00:00:00Z"}, {"1767225600", "2026-01-01T00:00:00Z"}, {"soon", ""},
	} {
		t.Setenv("SOURCE_DATE_EPOCH", c.epoch)
		got, err := timeOf(t.TempDir(), stamped)
		if (err == nil) != (c.want != "") || err == nil && got.Format(time.RFC3339) != c.want {
			t.Errorf("SOURCE_DATE_EPOCH=%s: %v, %v", c.epoch, got, err)
		}
	}
}

// TestToolsAreThoseThatTheSBOMNames holds the versions that are written into the SBOM.
func TestToolsAreThoseThatTheSBOMNames(t *testing.T) {
	b, err := os.ReadFile("../sbom/go.mod")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"cyclonedx-gomod " + gomodVersion, "go-licenses/v2 " + licensesVersion} {
		if !strings.Contains(string(b), want) {
			t.Errorf("tools/sbom/go.mod does not have %s", want)
		}
	}
}

func TestCopyrightsAreFound(t *testing.T) {
	texts := []licenceText{{text: "MIT License\n\nCopyright (c) 2019-2021 Jane Doe. All rights reserved.\n  Copyright 2016, 2018 ACME, Inc.\n" +
		"   Copyright [yyyy] [name of copyright owner]\n// Copyright © 2020 the X Authors\nthe above copyright notice shall\n"}}
	claims := copyrights(texts)
	if len(claims) != 3 {
		t.Fatalf("claims: %q", claims)
	}
	got := strings.Join(holders(claims), "|")
	if got != "Jane Doe|ACME, Inc.|the X Authors" {
		t.Errorf("holders: %s", got)
	}
}
