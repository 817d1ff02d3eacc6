// Package runbooks holds one page for each alert, for somebody who was woken by it.
//
// In a page each block of shell commands can be run as it stands; a block marked
// output after one shows what to expect, with … for what differs. A test runs them
// all against a live pod.
package runbooks

import (
	"embed"
	"fmt"
	"io/fs"
	"regexp"
	"strings"
)

//go:embed *.md
var pages embed.FS

// Names lists the alerts that have a page.
func Names() []string {
	files, err := fs.Glob(pages, "*.md")
	if err != nil {
		panic(err) // the pattern is a constant
	}
	for i := range files {
		files[i] = strings.TrimSuffix(files[i], ".md")
	}
	return files
}

// Places say where a pod is.
type Places struct {
	Proxy   string // address such as http://127.0.0.1:8000
	Sidecar string
	Logs    string // folder
	Sockets string // folder
}

// usual is the line by which every page begins; a pod that serves the page puts its
// own places there.
var usual = regexp.MustCompile(`(?m)^export PROXY=.*$`)

// Markdown returns an alert's page for that pod.
func Markdown(alert string, at Places) ([]byte, error) {
	text, err := pages.ReadFile(alert + ".md")
	if err != nil {
		return nil, fmt.Errorf("there is no runbook of %q: %w", alert, fs.ErrNotExist)
	}
	line := fmt.Sprintf("export PROXY=%s SIDECAR=%s LOGS=%s SOCKETS=%s", quote(at.Proxy), quote(at.Sidecar), quote(at.Logs), quote(at.Sockets))
	return usual.ReplaceAllLiteral(text, []byte(line)), nil
}

var plain = regexp.MustCompile(`^[A-Za-z0-9_./:@%+=,\[\]-]+$`)

// quote makes a word for a shell.
func quote(word string) string {
	if plain.MatchString(word) {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}
