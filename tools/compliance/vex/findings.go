package vex

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
)

// message is one of the JSON objects that govulncheck writes; one field is set.
type message struct {
	Config  *config  `json:"config"`
	OSV     *entry   `json:"osv"`
	Finding *finding `json:"finding"`
}

type config struct {
	ScannerVersion string    `json:"scanner_version"`
	Database       string    `json:"db"`
	Modified       time.Time `json:"db_last_modified"`
	ScanLevel      string    `json:"scan_level"`
}

// entry is a vulnerability as the database tells of it.
type entry struct {
	ID        string    `json:"id"`
	Published time.Time `json:"published"`
	Modified  time.Time `json:"modified"`
	Aliases   []string  `json:"aliases"`
	Summary   string    `json:"summary"`
	Details   string    `json:"details"`
	Database  struct {
		URL string `json:"url"`
	} `json:"database_specific"`
}

// finding says that a vulnerability concerns the sources: its trace starts at the module,
// the package or the function that is vulnerable, whichever was found, and ends at ours.
type finding struct {
	OSV   string  `json:"osv"`
	Fixed string  `json:"fixed_version"`
	Trace []frame `json:"trace"`
}

type frame struct {
	Module   string `json:"module"`
	Version  string `json:"version"`
	Package  string `json:"package"`
	Receiver string `json:"receiver"`
	Function string `json:"function"`
}

// reach is how far a vulnerability comes into the program.
type reach int

const (
	required reach = iota // the module is required; no package of it that is vulnerable is linked
	linked                // a vulnerable package is linked; no vulnerable function can be reached
	called                // a vulnerable function can be reached
)

// reached is what was found of one vulnerability in one module.
type reached struct {
	vulnerability, module, version, fixed string
	reach                                 reach
	path                                  []string // of the first call found, from ours to the vulnerable function
}

type report struct {
	config  config
	entries map[string]*entry
	reached []*reached // in the order found
}

func readReport(out []byte) (*report, error) {
	r := &report{entries: map[string]*entry{}}
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var m message
		err := dec.Decode(&m)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("cannot read what govulncheck wrote: %w", err)
		}
		switch {
		case m.Config != nil:
			r.config = *m.Config
		case m.OSV != nil:
			r.entries[m.OSV.ID] = m.OSV
		case m.Finding != nil && len(m.Finding.Trace) > 0:
			r.add(m.Finding)
		}
	}
	// At any other level, that no function is named would not mean that none is called.
	if r.config.ScanLevel != "symbol" {
		return nil, fmt.Errorf("govulncheck looked at the level %q: only at the level of symbols can it tell what is reachable", r.config.ScanLevel)
	}
	return r, nil
}

// add keeps the farthest reach of a vulnerability: govulncheck tells of it again as it
// learns more.
func (r *report) add(f *finding) {
	at := f.Trace[0]
	var known *reached
	for _, k := range r.reached {
		if k.vulnerability == f.OSV && k.module == at.Module {
			known = k
		}
	}
	if known == nil {
		known = &reached{vulnerability: f.OSV, module: at.Module, version: at.Version, fixed: f.Fixed}
		r.reached = append(r.reached, known)
	}
	switch {
	case at.Function != "" && known.reach < called:
		known.reach, known.path = called, pathOf(f.Trace)
	case at.Package != "" && known.reach < linked:
		known.reach = linked
	}
}

func pathOf(trace []frame) []string {
	var out []string
	for i := len(trace) - 1; i >= 0; i-- {
		name := trace[i].Function
		if receiver := strings.TrimPrefix(trace[i].Receiver, "*"); receiver != "" {
			name = receiver + "." + name
		}
		out = append(out, trace[i].Package+"."+name)
	}
	return out
}
