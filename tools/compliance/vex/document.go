package vex

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	cdx "github.com/CycloneDX/cyclonedx-go"
	"github.com/google/uuid"

	"github.com/semantic-pod/semantic/sbom"
)

// answer writes the document: one vulnerability for each that a module of ours has at the
// version that is required.
func (r *report) answer(list *cdx.BOM) (*Answer, error) {
	slices.SortFunc(r.reached, func(a, b *reached) int {
		return cmp.Or(cmp.Compare(a.vulnerability, b.vulnerability), cmp.Compare(a.module, b.module))
	})
	a := &Answer{Document: r.head(list)}
	vulnerabilities := []cdx.Vulnerability{}
	for _, found := range r.reached {
		v, err := r.vulnerability(found, list)
		if err != nil {
			return nil, err
		}
		vulnerabilities = append(vulnerabilities, v)
		if found.reach == called && !slices.Contains(a.Reachable, found.vulnerability) {
			a.Reachable = append(a.Reachable, found.vulnerability)
		}
	}
	a.Document.Vulnerabilities = &vulnerabilities
	return a, nil
}

// head says what the document is about, from what and when it was made.
func (r *report) head(list *cdx.BOM) *cdx.BOM {
	whole := *list.Metadata.Component
	whole.Properties = nil // the SBOM has them
	vex := cdx.NewBOM()
	vex.SerialNumber = "urn:uuid:" + uuid.NewString()
	vex.Metadata = &cdx.Metadata{
		Timestamp: time.Now().UTC().Format(time.RFC3339),
		Tools: &cdx.ToolsChoice{Components: &[]cdx.Component{{
			Type: cdx.ComponentTypeApplication, Name: "govulncheck", Version: r.config.ScannerVersion,
		}}},
		Authors:   &[]cdx.OrganizationalContact{{Name: sbom.Supplier}},
		Supplier:  list.Metadata.Supplier,
		Component: &whole,
		Properties: &[]cdx.Property{
			{Name: "semantic:vex:database", Value: r.config.Database},
			{Name: "semantic:vex:database:modified", Value: r.config.Modified.UTC().Format(time.RFC3339)},
		},
	}
	return vex
}

func (r *report) vulnerability(found *reached, list *cdx.BOM) (cdx.Vulnerability, error) {
	e := r.entries[found.vulnerability]
	if e == nil {
		return cdx.Vulnerability{}, fmt.Errorf("govulncheck found %s and does not say what it is", found.vulnerability)
	}
	affected, inSBOM, err := componentOf(list, found)
	if err != nil {
		return cdx.Vulnerability{}, err
	}
	link, err := cdx.NewBOMLink(list.SerialNumber, list.Version, affected)
	if err != nil {
		return cdx.Vulnerability{}, fmt.Errorf("cannot refer to the SBOM: %w", err)
	}
	v := cdx.Vulnerability{
		BOMRef: found.vulnerability + "@" + found.module, ID: e.ID,
		Source:      &cdx.Source{Name: "Go vulnerability database", URL: e.Database.URL},
		Description: e.Summary, Detail: e.Details,
		Published: stamp(e.Published), Updated: stamp(e.Modified),
		Analysis: analysis(found, inSBOM),
		Affects:  &[]cdx.Affects{{Ref: link.String(), Range: &[]cdx.AffectedVersions{{Version: affected.Version, Status: status(found)}}}},
	}
	if found.fixed != "" {
		v.Recommendation = "Update " + found.module + " to " + found.fixed + " or later."
	}
	var references []cdx.VulnerabilityReference
	for _, alias := range e.Aliases {
		references = append(references, cdx.VulnerabilityReference{ID: alias, Source: &cdx.Source{Name: strings.SplitN(alias, "-", 2)[0]}})
	}
	if len(references) > 0 {
		v.References = &references
	}
	return v, nil
}

// componentOf is the module in the SBOM, or the whole if the module is not linked.
func componentOf(list *cdx.BOM, found *reached) (c *cdx.Component, inSBOM bool, err error) {
	name, version := found.module, found.version
	if name == "stdlib" {
		name, version = "std", strings.TrimPrefix(version, "v")
	}
	for i := range *list.Components {
		c := &(*list.Components)[i]
		if c.Name != name || !sbom.IsModule(c) {
			continue
		}
		if c.Version != version {
			return nil, false, fmt.Errorf("the sources take %s at %s, the binary's SBOM says %s: build the binary anew", name, version, c.Version)
		}
		return c, true, nil
	}
	return list.Metadata.Component, false, nil
}

// analysis claims what govulncheck proves and no more: that a function can be reached does
// not make it exploitable, and somebody has to look.
func analysis(found *reached, inSBOM bool) *cdx.VulnerabilityAnalysis {
	at := found.module + "@" + found.version
	switch {
	case found.reach == called:
		return &cdx.VulnerabilityAnalysis{State: cdx.IASInTriage,
			Detail: "The vulnerable function can be reached; whether it can be exploited is to be judged. " + strings.Join(found.path, " → ")}
	case found.reach == linked:
		return &cdx.VulnerabilityAnalysis{State: cdx.IASNotAffected, Justification: cdx.IAJCodeNotReachable,
			Detail: "A vulnerable package of " + at + " is linked; govulncheck's call graph, which does not see calls by reflection, leads to no vulnerable function of it."}
	case inSBOM:
		return &cdx.VulnerabilityAnalysis{State: cdx.IASNotAffected, Justification: cdx.IAJCodeNotPresent,
			Detail: at + " is linked, but none of its vulnerable packages."}
	default:
		return &cdx.VulnerabilityAnalysis{State: cdx.IASNotAffected, Justification: cdx.IAJCodeNotPresent,
			Detail: at + " is required by the sources and no part of the binary."}
	}
}

func status(found *reached) cdx.VulnerabilityStatus {
	if found.reach == called {
		return cdx.VulnerabilityStatusUnknown
	}
	return cdx.VulnerabilityStatusNotAffected
}

func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}
