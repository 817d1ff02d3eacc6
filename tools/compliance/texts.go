package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// licenceText is one file of a module that says how it may be used.
type licenceText struct {
	name   string // within the module
	text   string
	sha256 string
}

var licenceFile = regexp.MustCompile(`(?i)^(licen[cs]e|copying|notice|copyright|patents|authors)([-._].*)?$`)

// licenceTexts reads the licence files of a module: those at its root and those in the
// folders of the packages that are linked.
func licenceTexts(dir string, packageDirs []string) ([]licenceText, error) {
	folders := []string{dir}
	for _, p := range packageDirs {
		for ; strings.HasPrefix(p, dir+string(filepath.Separator)); p = filepath.Dir(p) {
			if !slices.Contains(folders, p) {
				folders = append(folders, p)
			}
		}
	}
	slices.Sort(folders)
	var out []licenceText
	for _, folder := range folders {
		entries, err := os.ReadDir(folder)
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			if !e.Type().IsRegular() || !licenceFile.MatchString(e.Name()) || strings.HasSuffix(e.Name(), ".go") {
				continue
			}
			b, err := os.ReadFile(filepath.Join(folder, e.Name()))
			if err != nil {
				return nil, err
			}
			rel, err := filepath.Rel(dir, filepath.Join(folder, e.Name()))
			if err != nil {
				return nil, err
			}
			sum := sha256.Sum256(b)
			out = append(out, licenceText{name: filepath.ToSlash(rel), text: tidyText(string(b)), sha256: hex.EncodeToString(sum[:])})
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%s holds no licence file", dir)
	}
	return out, nil
}

// tidyText drops what differs without a meaning: line ends and trailing blanks.
func tidyText(s string) string {
	lines := strings.Split(strings.ReplaceAll(s, "\r\n", "\n"), "\n")
	for i, l := range lines {
		lines[i] = strings.TrimRight(l, " \t\f")
	}
	return strings.Trim(strings.Join(lines, "\n"), "\n")
}

var copyrightLine = regexp.MustCompile(`(?i)^[\s/*#]*(copyright\s+(\(c\)|©|[0-9]{4}).*|(\(c\)|©)\s*(copyright\s+)?[0-9]{4}.*)$`)

// copyrights are the lines in which somebody claims the copyright.
func copyrights(texts []licenceText) []string {
	var out []string
	for _, t := range texts {
		for line := range strings.Lines(t.text) {
			m := copyrightLine.FindStringSubmatch(strings.TrimRight(line, "\n"))
			if m == nil || strings.Contains(m[1], "[yyyy]") || strings.Contains(m[1], "{yyyy}") {
				continue
			}
			if c := strings.TrimSpace(m[1]); !slices.Contains(out, c) {
				out = append(out, c)
			}
		}
	}
	return out
}

var claim = regexp.MustCompile(`(?i)^((copyright|\(c\)|©|all rights reserved\.?|[0-9]{4}([-–, ]+([0-9]{4}|present))*|by)[\s,.:]*)+`)

// holders are the names in copyright lines.
func holders(claims []string) []string {
	var out []string
	for _, c := range claims {
		name := claim.ReplaceAllString(c, "")
		name = strings.TrimSpace(regexp.MustCompile(`(?i)\.?\s*all rights reserved\.?`).ReplaceAllString(name, ""))
		if name != "" && !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	return out
}
