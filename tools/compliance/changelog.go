package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"debug/buildinfo"

	"github.com/semantic-pod/semantic/sbom"
)

type releaseCmd struct {
	Root   string `default:"." help:"Folder of the sources."`
	Binary string `required:"" help:"Binary whose version must agree."`
}

func (c *releaseCmd) Run() error {
	root, err := filepath.Abs(c.Root)
	if err != nil {
		return err
	}
	said, err := runTool(root, platforms[0], c.Binary, "version")
	if err != nil {
		return err
	}
	version := strings.TrimSuffix(strings.Fields(string(said) + " - -")[1], ",")
	info, err := buildinfo.ReadFile(c.Binary)
	if err != nil {
		return err
	}
	build, err := sbom.BuildOf(info, version)
	if err != nil {
		return err
	}
	list, err := runTool(root, platforms[0], c.Binary, "sbom", "show")
	if err != nil {
		return err
	}
	bom, err := sbom.Decode(bytes.NewReader(list))
	if err != nil {
		return err
	}
	if have := bom.Metadata.Component.Version; have != version {
		return fmt.Errorf("`semantic version` says %s, the SBOM within says %s", version, have)
	}
	return checkRelease(root, build)
}

var (
	heading = regexp.MustCompile(`^## \[([^\]]+)\](?: - (\S+))?$`)
	semver  = regexp.MustCompile(`^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?$`)
	groups  = regexp.MustCompile(`^### (Added|Changed|Deprecated|Removed|Fixed|Security)$`)
)

// changelog is what CHANGELOG.md says: its releases, newest first.
type changelog struct {
	releases []string
}

// readChangelog holds the file to the form of Keep a Changelog.
func readChangelog(file string) (*changelog, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	c := new(changelog)
	var last time.Time
	unreleased := false
	for i, line := range strings.Split(string(b), "\n") {
		bad := func(why string) error { return fmt.Errorf("%s:%d: %s: %q", file, i+1, why, line) }
		switch {
		case strings.HasPrefix(line, "### "):
			if !groups.MatchString(line) {
				return nil, bad("a group is Added, Changed, Deprecated, Removed, Fixed or Security")
			}
		case strings.HasPrefix(line, "## "):
			m := heading.FindStringSubmatch(line)
			if m == nil {
				return nil, bad("a release is `## [1.2.3] - 2026-12-31`")
			}
			if m[1] == "Unreleased" {
				if unreleased || len(c.releases) > 0 {
					return nil, bad("[Unreleased] stands once, before the releases")
				}
				unreleased = true
				continue
			}
			day, err := time.Parse(time.DateOnly, m[2])
			if err != nil || !semver.MatchString(m[1]) {
				return nil, bad("a release is `## [1.2.3] - 2026-12-31`")
			}
			if !last.IsZero() && day.After(last) {
				return nil, bad("releases stand newest first")
			}
			last = day
			c.releases = append(c.releases, m[1])
		}
	}
	if !unreleased && len(c.releases) == 0 {
		return nil, fmt.Errorf("%s tells of no release and has no [Unreleased]", file)
	}
	return c, nil
}

// checkRelease holds a build's version against the tag of its commit and the CHANGELOG. A
// commit without a tag is no release: then the version must not claim to be one that has
// no entry.
func checkRelease(root string, build sbom.Build) error {
	log, err := readChangelog(filepath.Join(root, "CHANGELOG.md"))
	if err != nil {
		return err
	}
	version := strings.TrimPrefix(build.Version, "v")
	entry := func(v string) bool { return len(log.releases) > 0 && log.releases[0] == v }
	tag, err := tagOf(root)
	if err != nil {
		return err
	}
	if tag != "" {
		if build.Modified {
			return fmt.Errorf("the tree of the tag %s is modified: commit, or put it back", tag)
		}
		if released := strings.TrimPrefix(tag, "v"); version != released || !entry(released) {
			return fmt.Errorf("the tag is %s, the binary is %s, and the newest entry of CHANGELOG.md is %v: they must be one", tag, build.Version, log.releases[:min(1, len(log.releases))])
		}
		return nil
	}
	if semver.MatchString(version) && !strings.ContainsAny(version, "-+") && !entry(version) {
		return fmt.Errorf("the binary is %s, for which CHANGELOG.md has no newest entry", build.Version)
	}
	return nil
}

// tagOf is the version tag of the commit that is checked out, "" if it has none.
func tagOf(root string) (string, error) {
	cmd := exec.Command("git", "tag", "--points-at", "HEAD", "--list", "v[0-9]*")
	cmd.Dir = root
	out, err := cmd.Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return "", nil // not a checkout
	}
	if err != nil {
		return "", fmt.Errorf("cannot ask git for the tag: %w", err)
	}
	tags := strings.Fields(string(out))
	if len(tags) > 1 {
		return "", fmt.Errorf("the commit has more than one version tag: %s", strings.Join(tags, ", "))
	}
	return strings.Join(tags, ""), nil
}
